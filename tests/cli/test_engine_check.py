"""``forewarn engine check``: the receipt, its exit status, and what it says of an engine that can't be trusted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forewarn.checkpoints.load import load_tokenizer
from forewarn.cli.app import main
from forewarn.engines.base import Sample
from forewarn.engines.check.check import CheckSizes, check_engine, make_prompts
from forewarn.engines.transformers.engine import HFEngine
from forewarn.formats import FORMATS
from forewarn.organism.shipped import shipped_folder
from forewarn.records import Policy
from tests.engines.tiny import tiny_model, tiny_tokenizer
from tests.tiny_world import TinyWorld

BASE = shipped_folder() / "base"
SMALL = ("--completions", "4", "--tokens", "6", "--draws", "300", "--dtype", "float64", "--against-dtype", "float64")


def check(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["engine", "check", *map(str, arguments), *SMALL])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_receipt_of_a_sound_engine(world: TinyWorld, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(world.subject, "--adapter", world.donor, "--against", "transformers", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trusted"] is True
    assert found["faults"] == []
    for part in ("agreement", "batched", "against"):
        assert 0 <= found[part]["worst_token"] < 1e-9
        assert 1 <= found[part]["rate_factor"] < 1.000001
    for part in ("base", "kept", "again"):
        assert found["adapters"][part]["worst_token"] == 0.0
    assert found["adapters"]["scale_holds"] is True
    assert found["adapters"]["effect"]["worst_token"] > 0.01
    assert found["agreement"]["n_tokens"] == found["against"]["n_tokens"] > 4 * 4
    assert [support["holds"] for support in found["supports"]] == [True] * 3
    assert [drawn["n_outside"] for drawn in found["drawn"]] == [0] * len(found["drawn"])
    assert sum(drawn["p_value"] is not None for drawn in found["drawn"]) >= 2
    assert found["sampled_per_s"] > 0
    assert found["prompts"].startswith("plain text, as the tokenizer has no chat template")
    assert check(world.subject, "--format", "plain-think") == 0
    said = capsys.readouterr().out
    assert "prompts               plain-think" in said
    assert said.splitlines()[-1].startswith(
        "Importance weights from this engine can be trusted: the largest difference"
    )
    assert "per 100 tokens" in said


class Drifting(HFEngine):
    """Scores a hundredth of a nat a token too high, as an engine with half-precision sums may."""

    def score(self, *arguments: Any, **settings: Any) -> Any:
        return [row + 0.01 for row in super().score(*arguments, **settings)]


class Deaf(HFEngine):
    """Scores every policy as if it did not truncate."""

    def score(self, *arguments: Any, policy: Policy, **settings: Any) -> Any:
        return super().score(*arguments, policy=Policy(temperature=policy.temperature), **settings)


def test_engines_that_cannot_be_trusted_are_told_why() -> None:
    prompts = make_prompts(tiny_tokenizer(FORMATS["plain-think"].control), "plain-think")
    ids = tuple(tuple(i % 11 for i in row[:20]) for row in prompts.ids)
    prompts = type(prompts)(ids, (5, 6), (0,), "plain-think")
    sizes = CheckSizes(completions=4, max_new_tokens=40, draws=300)
    good = check_engine(HFEngine(tiny_model()), prompts, sizes=sizes)
    assert good.trusted, good.faults
    drifting = check_engine(Drifting(tiny_model()), prompts, sizes=sizes, against=HFEngine(tiny_model()))
    assert drifting.agreement.bias == pytest.approx(1.0, abs=0.01)
    assert "can NOT be trusted" in drifting.sentence
    assert any("a rate is off by a factor of 2.7" in fault for fault in drifting.faults)
    assert any("the two engines differ" in fault for fault in drifting.faults)
    deaf = check_engine(Deaf(tiny_model()), prompts, sizes=sizes)
    assert "the density under top_p 0.9 is not the truncated one" in deaf.faults
    assert not any("sampled and scored" in fault for fault in deaf.faults)


class Cold(HFEngine):
    """Draws at half the temperature and reports log-probs of the whole one, as a server with raw log-probs does."""

    def sample(self, prompts_ids: Any, *, policy: Policy, **settings: Any) -> list[Sample]:
        drawn = super().sample(prompts_ids, policy=replace(policy, temperature=0.5), **settings)
        spread = [prompt for prompt in prompts_ids for _ in range(settings.get("n", 1))]
        scores = self.score(spread, [one.token_ids for one in drawn], policy=policy, adapter=settings.get("adapter"))
        return [replace(one, log_probs=tuple(row.tolist())) for one, row in zip(drawn, scores, strict=True)]


def test_an_engine_that_draws_cold_is_caught_on_a_model_that_is_nearly_certain() -> None:
    """After most prefixes the organism has one next token: only uncertain places tell how it is drawn."""
    prompts = make_prompts(load_tokenizer(str(BASE)), "auto")
    sizes = CheckSizes(completions=8, max_new_tokens=48, draws=400)
    sound = check_engine(HFEngine.from_folder(BASE), prompts, sizes=sizes)
    assert sound.trusted, sound.faults
    cold = check_engine(Cold.from_folder(BASE), prompts, sizes=sizes)
    assert cold.agreement.worst_token < 1e-3
    assert any("not drawn as often as they are scored probable" in fault for fault in cold.faults)


def test_what_was_not_tested_is_not_trusted() -> None:
    prompts = make_prompts(load_tokenizer(str(BASE)), "auto")
    few = check_engine(HFEngine.from_folder(BASE), prompts, sizes=CheckSizes(1, 1, 1, 1))
    assert not few.trusted
    assert "too few draws to test" in few.sentence


def test_exit_status_of_an_engine_that_cannot_be_trusted(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    score = HFEngine.score
    drift = lambda *a, **k: [row + 0.01 * np.ones_like(row) for row in score(*a, **k)]  # noqa: E731
    monkeypatch.setattr(HFEngine, "score", drift)
    assert check(world.subject) == 3
    assert "can NOT be trusted" in capsys.readouterr().out


def test_bad_input_is_refused(world: TinyWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(world.subject, cut)
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:100])
    for arguments, message in (
        ((tmp_path / "none",), "is neither a folder nor a hub name"),
        ((world.subject, "--format", "harmony"), "so the model has no reasoning channel in the format 'harmony'"),
        ((world.subject, "--format", "alpaca"), "unknown chat format 'alpaca'"),
        (
            (world.subject, "--format", "none", "--system", "Be kind."),
            "--system 'Be kind.' would have no effect, since the",
        ),
        ((world.subject, "--system", "Be kind."), "name a --format that has a system message"),
        ((world.subject, "--engine", "tgi"), "engine is 'tgi'"),
        ((world.subject, "--device", "banana"), "device is 'banana': give cpu, cuda, or cuda:N"),
        ((world.subject, "--device", "cuda:99"), "device is 'cuda:99', but torch"),
        ((world.subject, "--adapter", tmp_path), "has no readable adapter_config.json"),
        ((world.later, "--adapter", world.donor), "was trained on another base"),
        ((cut,), "is cut short at 100 bytes"),
    ):
        assert check(*arguments) == 2
        assert message in capsys.readouterr().err
