"""A study: problems, checkpoints, donors and spans, measured stage by stage into a run folder that can be resumed."""

from forewarn.checkpoints.find import ModelSource, find_checkpoints, trainer_checkpoints
from forewarn.study.forecasts import TypeForecast, run_forecasts
from forewarn.study.from_file import LoadedStudy, load_study
from forewarn.study.plan import Cell, PlannedSpan, Study
from forewarn.study.read import read_cells, read_completions, read_estimates, read_hits, read_verdicts
from forewarn.study.recompute import estimate_run
from forewarn.study.results import CellResult, RunResults, read_results
from forewarn.study.run import Progress, Sandboxing, run_study
from forewarn.study.tables import CellEstimate
from forewarn.study.workers import Machine

__all__ = [
    "Cell",
    "CellEstimate",
    "CellResult",
    "LoadedStudy",
    "Machine",
    "ModelSource",
    "PlannedSpan",
    "Progress",
    "RunResults",
    "Sandboxing",
    "Study",
    "TypeForecast",
    "estimate_run",
    "find_checkpoints",
    "load_study",
    "read_cells",
    "read_completions",
    "read_estimates",
    "read_hits",
    "read_results",
    "read_verdicts",
    "run_forecasts",
    "run_study",
    "trainer_checkpoints",
]
