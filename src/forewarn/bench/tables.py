"""The runs as the table in docs/foresight-protocol.md has them."""

from __future__ import annotations

from forewarn.bench.protocol import Protocol
from forewarn.bench.runs import all_runs

HEAD = "| run | use | learning rate times | solvable problems | group | patched | late | never in the mix |"


def run_rows(protocol: Protocol) -> str:
    """A Markdown table, a row a run."""
    lines = [HEAD, "| :-- | :-- | --: | --: | --: | :-- | :-- | :-- |"]
    for run in all_runs(protocol).values():
        cells = [run.name, run.use, f"{run.learning_rate_factor:g}", f"{run.honest_share:.0%}", str(run.group)]
        cells += [", ".join(names) for names in (run.patched, run.late, run.never)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
