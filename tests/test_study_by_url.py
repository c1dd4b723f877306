"""A study whose models are behind a vLLM server: what is refused before anything is written, and what is left there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forewarn.errors import InputError
from forewarn.models import vllm_line
from forewarn.models.vllm_server import VLLMServer
from forewarn.records import Policy, Span
from forewarn.study import Machine, PlannedSpan, Study, run_study
from forewarn.study.checks import check_context
from forewarn.study.room import study_channels
from tests.models.fake_vllm import FakeVLLM, serving
from tests.study_runner import tiny_study
from tests.tiny_world import SPANS, TOKENS, TinyWorld

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def server(world: TinyWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVLLM]:
    monkeypatch.setattr(vllm_line, "FIRST_PAUSE_S", 0.01)
    with serving(FakeVLLM(world.engine("subject")[0], str(world.subject))) as state:
        yield state


@pytest.fixture
def study(world: TinyWorld) -> Study:
    """Two checkpoints on the one model that a server serves, and two strengths of a donor's adapter."""
    first = tiny_study(world).checkpoints[0]
    spans = (*SPANS, Span(0, 2, "donor", 0.5))
    return dataclasses.replace(
        tiny_study(world),
        checkpoints=(first, dataclasses.replace(first, model_id="step-2", step=2)),
        spans=tuple(PlannedSpan(span, 20) for span in spans),
    )


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"temperature": 0.7}, "can't be scored by vLLM"),
        ({"top_p": 0.9}, "can't be scored by vLLM"),
        ({"min_p": 0.1, "top_k": 5}, "min_p is 0.1 together with top_k"),
    ],
)
def test_a_policy_that_vllm_cannot_score_is_refused_before_anything_is_written(
    study: Study, tmp_path: Path, changed: dict[str, Any], sentence: str
) -> None:
    other = dataclasses.replace(study, policy=dataclasses.replace(study.policy, **changed))
    with pytest.raises(InputError, match=sentence):
        run_study(other, tmp_path / "run", machine=Machine(engine=NOWHERE))
    assert not (tmp_path / "run").exists()


def test_what_is_no_url_is_refused_before_anything_is_written(study: Study, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"engine URL is .http://127\.0\.0\.1:port"):
        run_study(study, tmp_path / "run", machine=Machine(engine="http://127.0.0.1:port"))
    assert not (tmp_path / "run").exists()


def test_vllm_needs_one_token_of_the_context(server: FakeVLLM, study: Study) -> None:
    channels = study_channels(study)
    prompts = [channels.prompt_ids(problem.question) for problem in study.problems]
    longest = max(prompts, key=len)
    limit = server.max_len - len(longest)
    full = dataclasses.replace(study, policy=Policy(max_total_tokens=limit))
    check_context(full, channels)
    with pytest.raises(InputError, match=f"of which vLLM needs one: lower max_total_tokens to {limit - 1} or less"):
        check_context(full, channels, server.url)
    fitting = dataclasses.replace(study, policy=Policy(max_total_tokens=limit - 1))
    check_context(fitting, channels, server.url)
    with VLLMServer(server.url, vocab_size=len(TOKENS)) as engine:
        for n, fits in ((limit - 1, True), (limit, False)):
            if fits:
                assert len(engine.score([longest], [(5,) * n], policy=Policy())[0]) == n
            else:
                with pytest.raises(InputError, match="pass the engine's context"):
                    engine.score([longest], [(5,) * n], policy=Policy())
