"""``forewarn bench``: an unknown base or run, or one without its base, is one sentence and exit status 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from forewarn.cli.app import main


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["build", "x9"], "the benchmark has no base 'x9': choose among t0, t1"),
        (["train", "t0"], "the benchmark has no run 't0': choose among t0-V1, t0-V2"),
        (["train", "d0-V1"], "has no base model of run d0-V1: run `forewarn bench build d0` first"),
        (["train", "d0-V1", "--steps", "301"], "steps is 301: give 1 to 300, the length of a run"),
        (["train", "t0-V1", "--optimizer", "adam"], "the settings of test run t0-V1 are frozen: leave out --optimizer"),
        (["train", "d0-V1", "--optimizer", "lion"], "the optimizer is 'lion': give adam or sgd"),
        (["train", "d0-V1", "--learning-rate", "-1"], "the learning rate is -1.0: give a finite number above 0"),
        (["truth", "d0-V1"], "has no base model of run d0-V1: run `forewarn bench build d0` first"),
        (["measure", "d0-V1"], "has no base model of run d0-V1: run `forewarn bench build d0` first"),
        (["measure", "d0"], "the benchmark has no run 'd0': choose among t0-V1, t0-V2"),
        (["score"], "there is no development run to score in"),
        (["score", "t0-V1"], "(t0-V1: truth not measured: run `forewarn bench truth t0-V1`)"),
        (["score", "t9-V1"], "the benchmark has no run 't9-V1': choose among t0-V1, t0-V2"),
        (["score", "--use", "both"], "the use is 'both': give test or development"),
        (["score", "--method", "luck"], "there is no method 'luck': choose among joint, configuration"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments, "--folder", str(tmp_path / "none")])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "none").exists(), "nothing is written for what is refused"
