"""``forewarn estimate`` on a case whose probability is known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from forewarn.cli.app import main
from forewarn.cli.arrays import load_arrays
from forewarn.cli.estimate import as_json_value, as_text, interval, probability
from forewarn.records import Estimate

TRUTH = 1e-4
DONOR_RATE = 0.1


def completions(n: int = 4000) -> dict[str, np.ndarray]:
    """One token: the exploit, a thousand times likelier under the donor, or not. A quarter are the subject's own."""
    rng = np.random.default_rng(3)
    span_N = (np.arange(n) % 4 > 0).astype(int)
    is_exploit_N = rng.random(n) < np.where(span_N == 1, DONOR_RATE, TRUTH)
    hit, miss = math.log(DONOR_RATE / TRUTH), math.log((1 - DONOR_RATE) / (1 - TRUTH))
    log_ratio_NS = np.stack([np.zeros(n), np.where(is_exploit_N, hit, miss)], axis=1)
    return {"log_ratio_NS": log_ratio_NS, "is_exploit_N": is_exploit_N, "span_N": span_N}


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    path = tmp_path / "arrays.npz"
    np.savez(path, **completions())
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["estimate", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


def test_json_holds_the_known_rate(npz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--arrays", npz, "--json", "--level", 0.99)
    result = json.loads(out)
    assert (code, err) == (0, "")
    low, high = result["interval_log10"]
    assert low < math.log10(TRUTH) < high
    assert abs(result["log10_p"] - math.log10(TRUTH)) < 0.1
    assert result["lower_bound"] < TRUTH < result["upper_bound"]
    assert result["n"] == 4000
    assert sum(result["hits_by_span"]) == result["n_hits"] > 100


def test_text_shows_every_part(npz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--arrays", npz, "--level", "0.95")
    assert code == 0
    lines = dict(line.split("  ", 1) for line in out.splitlines())
    assert lines["estimate"].strip().endswith("e-04") or lines["estimate"].strip().endswith("e-05")
    assert "95% interval" in lines
    assert lines["certified at 95%"].strip().startswith("at least ")
    assert "4000, 0 invalid" in lines["completions"]


def test_integers_serve_as_booleans(tmp_path: Path) -> None:
    arrays = completions(400)
    path = tmp_path / "arrays.npz"
    np.savez(path, **{**arrays, "is_exploit_N": arrays["is_exploit_N"].astype(int)})
    assert load_arrays(path)["is_exploit_N"].dtype == np.bool_


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"span_N": None}, "lacks span_N"),
        ({"spam_N": np.zeros(3)}, "has unknown spam_N"),
        ({"is_exploit_N": np.full(4000, 2)}, "is_exploit_N of"),
        ({"span_N": np.zeros(3, dtype=int)}, "span_N has 3 values"),
    ],
)
def test_bad_arrays_are_one_sentence(
    change: dict[str, np.ndarray | None], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **{name: value for name, value in {**completions(), **change}.items() if value is not None})
    code, out, err = run(capsys, "--arrays", path)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def no_hits() -> Estimate:
    return Estimate(None, None, 0.0, 0.02, 0.9, 100, 0, (0, 0), 0, 0, None, None, None, None, None, False, "no hits")


def test_no_hit_is_never_zero() -> None:
    text = as_text(no_hits())
    assert "estimate               no hit" in text
    assert "at most 2.00e-02" in text
    assert "nan" not in text.lower()
    assert json.loads(json.dumps(as_json_value(no_hits()), allow_nan=False))["log10_p"] is None


@pytest.mark.parametrize(
    ("log10_p", "text"),
    [(None, "-"), (0.0, "1.00e+00"), (-6.5, "3.16e-07"), (-400.0, "1.00e-400"), (-2.0000001, "1.00e-02")],
)
def test_probability(log10_p: float | None, text: str) -> None:
    assert probability(log10_p) == text


def test_an_open_interval_reaches_zero() -> None:
    assert interval((-math.inf, -3.0)) == "0 to 1.00e-03"
