"""Without the extras ``local`` and ``report``: what needs no model works, and the rest says which extra it lacks."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from forewarn.errors import EXTRA_OF

ROOT = Path(__file__).parents[1]
JUDGED = ["judge", "--problem", "examples/judge/problem.yaml", "--code", "examples/judge/exploit.py"]

LACKING = """
import sys

LACKING = {"torch", "transformers", "peft", "safetensors", "tokenizers", "huggingface_hub", "accelerate", "matplotlib",
           "altair", "vl_convert"}


class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in LACKING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


sys.meta_path.insert(0, Absent)
"""


def lacking(code: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a process in which the extras' packages can't be imported."""
    command = [sys.executable, "-c", LACKING + code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=120)


def forewarn(*arguments: str) -> subprocess.CompletedProcess[str]:
    return lacking(f"from forewarn.cli import main; main({list(arguments)!r})")


def test_the_packages_are_absent() -> None:
    assert "No module named 'torch'" in lacking("import torch").stderr


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["problems", "list"], "Problems by exploit type"),
        (["problems", "show", "peaks/process_exit"], "peaks"),
        (JUDGED, "exploit:"),
        (["sandbox", "check"], "strict"),
    ],
)
def test_what_needs_no_model_works(arguments: list[str], shown: str) -> None:
    done = forewarn(*arguments)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


def test_an_estimate_from_arrays_works(tmp_path: Path) -> None:
    ratio = np.array([[0.0, 1.0], [0.0, 0.5], [0.0, -1.0], [0.0, 0.1]])
    np.savez(tmp_path / "a.npz", log_ratio_NS=ratio, is_exploit_N=np.array([1, 0, 1, 0], bool), span_N=[0, 0, 1, 1])
    done = forewarn("estimate", "--arrays", str(tmp_path / "a.npz"))
    assert done.returncode == 0, done.stderr
    assert "effective sample size" in done.stdout


def test_every_public_name_resolves() -> None:
    done = lacking("import forewarn; [getattr(forewarn, name) for name in forewarn.__all__]")
    assert done.returncode == 0, done.stderr


def test_a_command_that_needs_a_model_names_the_extra(tmp_path: Path) -> None:
    done = forewarn("organism", "build", "--folder", str(tmp_path / "new"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "is not installed: pip install 'forewarn[local]'" in done.stderr


@pytest.mark.parametrize("call", ["load_model('src')", "load_tokenizer('src')", "longest_row('src')"])
def test_the_library_says_it_too(call: str) -> None:
    done = lacking(f"from forewarn.checkpoints.load import *; {call}")
    assert done.stderr.splitlines()[-1].startswith("forewarn.errors.MissingExtraError: t")


def test_every_extra_that_is_named_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(EXTRA_OF.values()) <= project["optional-dependencies"].keys()
    assert not any(wanted.startswith(("torch", "transformers", "matplotlib")) for wanted in project["dependencies"])
