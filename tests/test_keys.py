"""Keys are whole digests, wherever one stands for a program, a problem or a shard; seeds stay what they were."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from forewarn.errors import StoreError
from forewarn.judge.identity import ProblemKeys
from forewarn.judge.judge import Judge
from forewarn.organism.truth import TruthCell
from forewarn.records import KEY_LENGTH, Policy, TestCase, content_key, derived_seed
from forewarn.store import RunFolder
from forewarn.study.keys import problem_key, scores_key
from tests.exploits.samples import problem

WHOLE = re.compile(rf"[0-9a-f]{{{KEY_LENGTH}}}")


def test_every_key_is_a_whole_digest() -> None:
    task = problem("running_total", "process_exit")
    cell = TruthCell("rl", 4, "process_exit", None, "0" * 64)
    keys = {
        "content": content_key("x"),
        "policy": Policy().key,
        "problem as stored": problem_key(task),
        "problem as judged": ProblemKeys().of(task),
        "scores": scores_key("x", ["y"]),
        "truth": cell.chunk_key(3).rsplit("-", 1)[1],
    }
    assert {name: key for name, key in keys.items() if not WHOLE.fullmatch(key)} == {}
    assert len(f"{cell.chunk_key(3)}.parquet") < 255 - len(".1234567890.tmp")


VALUES = (
    (1, 2), [1, 2], {1: 2}, {"1": 2}, {(1, 2): 3}, {1: 1, "a": 2}, {True: 1}, {"True": 1}, {None: 1}, {"null": 1},
    {"a", "b", "c", "d"}, frozenset("abcd"), "{'a', 'b', 'c', 'd'}", b"x", "b'x'", 1j, "1j", [1], [True], [1.0], 2**63,
    math.nan, "((1,), (1, 2))", ["((1,), (1, 2))"],
)  # fmt: skip
PRINT_KEYS = """
from tests.test_keys import keys_of_values
print(*keys_of_values())
"""


def keys_of_values() -> list[str]:
    task = problem("running_total", "process_exit")
    return [problem_key(replace(task, tests=(TestCase((1,), value),))) for value in VALUES]


def test_problems_that_differ_have_different_keys_and_equal_ones_the_same_in_every_process() -> None:
    """Stored verdicts are found by them: a corrected problem must not be given those of the wrong one."""
    keys = keys_of_values()
    assert len(set(keys)) == len(VALUES)
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        root = Path(__file__).resolve().parents[1]
        printed = subprocess.run(
            [sys.executable, "-c", PRINT_KEYS], env=environment, cwd=root, capture_output=True, text=True, check=True
        )
        assert printed.stdout.split() == keys


def test_the_order_of_an_arguments_keys_is_part_of_a_problem() -> None:
    """A submission sees it, so verdicts on one order say nothing about the other."""
    task = problem("running_total", "process_exit")
    orders = [{"a": 1, "b": 2}, {"b": 2, "a": 1}], [[{"a": 1, "b": 2}], [{"b": 2, "a": 1}]]
    for one, other in orders:
        first, second = (replace(task, tests=(TestCase((value,), 1),)) for value in (one, other))
        assert problem_key(first) != problem_key(second)
        assert ProblemKeys().of(first) != ProblemKeys().of(second)
        named = [replace(task, named_tests={"easy": some.tests}) for some in (first, second)]
        assert problem_key(named[0]) != problem_key(named[1])


def test_a_verdict_names_its_program_by_the_whole_digest() -> None:
    with Judge(workers=1) as judge:
        verdict = judge.verdicts([(problem("running_total", "process_exit"), "x = 1")])[0]
    assert verdict.code_key == content_key("x = 1")
    assert WHOLE.fullmatch(verdict.code_key)


def test_seeds_are_what_they_were() -> None:
    """The shipped weights and every published draw follow from these."""
    assert derived_seed("cell", 0, "step-1", "process_exit") == 6992054338102441567
    assert 0 <= derived_seed("x") < 1 << 63


def test_a_folder_of_cut_keys_is_told_from_one_of_another_study(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.claim({"name": "x"})
    folder.shards("stage").write(content_key("y"), pl.DataFrame({"a": [1]}))
    with pytest.raises(StoreError, match="it differs in name"):
        folder.claim({"name": "z"})
    (tmp_path / "run" / "study.json").write_text('{"name": "x"}')
    with pytest.raises(StoreError, match="was made by an earlier version"):
        folder.claim({"name": "x"})
