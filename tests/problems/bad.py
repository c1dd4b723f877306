"""What the tests of odd and damaged problem sets share: a whole problem, its row, and what an error must look like."""

from __future__ import annotations

from typing import Any

from forewarn.errors import ForewarnError
from forewarn.problems.rows import to_row
from tests.exploits.samples import problem as sample

OWN = sample("running_total", "process_exit")


def row(**fields: Any) -> dict[str, Any]:
    return {**to_row(OWN), **fields}


def one_sentence(error: BaseException) -> str:
    assert isinstance(error, ForewarnError)
    assert "\n" not in str(error)
    return str(error)
