"""A study: problems, checkpoints, donors and spans, measured stage by stage into a run folder that can be resumed."""

from forewarn.checkpoints.find import find_checkpoints, trainer_checkpoints
from forewarn.checkpoints.sources import ModelSource
from forewarn.study.config.load import LoadedStudy, load_study
from forewarn.study.folder.cells import read_completions, read_verdicts
from forewarn.study.folder.tables import CellEstimate
from forewarn.study.models import Machine
from forewarn.study.plan import Cell, PlannedSpan, Study
from forewarn.study.results.estimates import estimate_run, read_cells, read_estimates, read_hits
from forewarn.study.results.forecasts import TypeForecast, run_forecasts
from forewarn.study.results.read import CellResult, RunResults, read_results
from forewarn.study.stages.judging import Progress, Sandboxing
from forewarn.study.stages.run import run_study

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
