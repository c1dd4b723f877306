"""The client of a vLLM server, against answers that are vLLM's, not quite vLLM's, or lost on the way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forewarn.engines.vllm import line as vllm_line
from forewarn.engines.vllm.requests import sampling_fields
from forewarn.engines.vllm.server import VLLMServer
from forewarn.errors import EngineFault, InputError, ModelError
from forewarn.records import Policy
from tests.engines.fake_vllm import COMPLETIONS, DROP, LOAD, MODELS, UNLOAD, Answer, FakeVLLM, serving
from tests.tiny_world import TOKENS, TinyWorld

PROMPT = (1, 5, 9)


@pytest.fixture
def server(world: TinyWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVLLM]:
    monkeypatch.setattr(vllm_line, "FIRST_PAUSE_S", 0.01)
    with serving(FakeVLLM(world.engine("subject")[0], str(world.subject))) as state:
        yield state


def client(server: FakeVLLM, *, model: str | None = None) -> VLLMServer:
    return VLLMServer(server.url, vocab_size=len(TOKENS), model=model, concurrency=4, timeout_s=20)


def draw(engine: VLLMServer, **changed: Any) -> Any:
    call: dict[str, Any] = {"policy": Policy(), "seed": 1, "max_new_tokens": 6, "stop_ids": (), "n": 3}
    return engine.sample([PROMPT], **(call | changed))


def test_what_is_sampled_is_scored_the_same(server: FakeVLLM, world: TinyWorld) -> None:
    with client(server, model=str(world.subject)) as engine:
        engine.load_adapter("donor", world.donor)
        samples = draw(engine, adapter="donor")
        scores = engine.score([PROMPT] * 3, [s.token_ids for s in samples], policy=Policy(), adapter="donor")
        for sample, score in zip(samples, scores, strict=True):
            np.testing.assert_allclose(sample.log_probs, score, rtol=0, atol=1e-9)
    assert not server.loaded


def test_requests_leave_nothing_to_the_models_generation_config(server: FakeVLLM) -> None:
    """vLLM fills in what a request leaves open; these are all the fields it fills in."""
    neutral = {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
    shaping = {"temperature": 0.7, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "max_tokens": 6}
    with client(server) as engine:
        draw(engine, policy=Policy(temperature=0.7))
    assert (neutral | shaping).items() <= server.asked(COMPLETIONS)[-1].items()
    assert neutral.items() <= sampling_fields(Policy(), seed=0, limit=1, stop_ids=()).items()


def test_a_server_with_raw_log_probs_is_refused(server: FakeVLLM) -> None:
    server.raw = True
    with pytest.raises(ModelError, match=r"not those of the policy: .*--logprobs-mode processed_logprobs"):
        client(server)


def test_a_server_with_logits_for_log_probs_is_refused(server: FakeVLLM) -> None:
    def logits(_: int, answer: Answer) -> Answer:
        for top in answer[1]["choices"][0]["logprobs"]["top_logprobs"]:
            top.update({token: value + 9 for token, value in top.items()})
        return answer

    server.faults[COMPLETIONS] = logits
    with pytest.raises(ModelError, match="--logprobs-mode processed_logprobs"):
        client(server)


@pytest.mark.parametrize("fault", [(500, {"error": "busy"}), DROP])
def test_closing_goes_through_where_unloading_breaks(server: FakeVLLM, world: TinyWorld, fault: Answer) -> None:
    engine = client(server)
    for name in ("a", "b"):
        engine.load_adapter(name, world.donor, scale=0.5)
    [folder] = {Path(body["lora_path"]) for body in server.asked(LOAD)}
    server.faults[UNLOAD] = lambda before, answer: fault if before == 0 else answer
    engine.close()
    assert len(server.asked(UNLOAD)) == 2
    assert not folder.exists()
    with pytest.raises(RuntimeError):
        engine._line.send(MODELS, {})
    server.faults.clear()


def test_a_load_whose_answer_was_lost_is_done(server: FakeVLLM, world: TinyWorld) -> None:
    server.faults[LOAD] = lambda before, answer: DROP if before == 0 else answer
    with client(server) as engine:
        engine.load_adapter("donor", world.donor)
        assert len(server.asked(LOAD)) == 2
        assert draw(engine, adapter="donor")
        server.faults[LOAD] = lambda _, answer: (400, {"error": "'other' has already been loaded"})
        with pytest.raises(ModelError, match=r"can't load the adapter in .*already been loaded"):
            engine.load_adapter("other", world.donor)


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[int, Answer], Answer]:
    def edited(_: int, answer: Answer) -> Answer:
        change(answer[1]["choices"][0])
        return answer

    return edited


SAMPLING: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no token ids": (lambda c: c.pop("token_ids"), "without token ids"),
    "ids as text": (lambda c: c.update(token_ids=["5"] * 6), "without token ids"),
    "null log-probs": (lambda c: c.update(logprobs=None), "without a log-prob of every token"),
    "a null log-prob": (lambda c: c["logprobs"].update(token_logprobs=[None] * 6), "without a log-prob of every"),
    "too few log-probs": (lambda c: c["logprobs"]["token_logprobs"].pop(), "5 log-probs for 6 tokens"),
    "a log-prob above 0": (lambda c: c["logprobs"].update(token_logprobs=[0.5] * 6), r"gave 0\.5 as the log-prob"),
    "too many tokens": (lambda c: c.update(token_ids=[5] * 7, logprobs={"token_logprobs": [-1.0] * 7}), "7 tokens"),
    "too few tokens": (lambda c: c.update(token_ids=[5] * 5, logprobs={"token_logprobs": [-1.0] * 5}), "5 tokens"),
    "a token of another model": (lambda c: c.update(token_ids=[900] * 6), "token 900, outside the tokenizer's 10"),
    "another reason": (lambda c: c.update(finish_reason="abort"), "ended a completion with 'abort'"),
    "a stop that was not asked for": (lambda c: c.update(finish_reason="stop"), "--generation-config vllm"),
    "an end passed over": (lambda c: c.update(token_ids=[5, 2, 5, 5, 5, 5]), "continued after a token that should end"),
    "no mapping": (lambda c: c.clear(), "without token ids"),
}


@pytest.mark.parametrize("case", SAMPLING)
def test_completions_that_are_not_quite_vllms_are_faults(server: FakeVLLM, case: str) -> None:
    change, sentence = SAMPLING[case]
    with client(server) as engine:
        server.faults[COMPLETIONS] = edit(lambda choice: (choice.update(_six_tokens()), change(choice)))
        with pytest.raises(EngineFault, match=sentence):
            draw(engine, stop_ids=(2,))


def _six_tokens() -> dict[str, Any]:
    return {"token_ids": [5] * 6, "logprobs": {"token_logprobs": [-1.0] * 6}, "finish_reason": "length"}


SCORING: dict[str, Callable[[dict[str, Any]], object]] = {
    "missing": lambda c: c.pop("prompt_logprobs"),
    "null": lambda c: c.update(prompt_logprobs=None),
    "text": lambda c: c.update(prompt_logprobs="abcde"),
    "lists": lambda c: c.update(prompt_logprobs=[[1]] * 5),
    "null entries": lambda c: c.update(prompt_logprobs=[None] * 5),
    "null values": lambda c: c.update(prompt_logprobs=[{"5": {"logprob": None}}] * 5),
    "above 0": lambda c: c.update(prompt_logprobs=[{"5": {"logprob": 3.0}}] * 5),
    "of other tokens": lambda c: c.update(prompt_logprobs=[{"6": {"logprob": -1.0}}] * 5),
    "too short": lambda c: c["prompt_logprobs"].pop(),
}


@pytest.mark.parametrize("case", SCORING)
def test_scores_that_are_not_quite_vllms_are_faults(server: FakeVLLM, case: str) -> None:
    with client(server) as engine:
        server.faults[COMPLETIONS] = edit(SCORING[case])
        with pytest.raises(EngineFault, match=r"vLLM gave (no|prompt) (prompt )?log-prob"):
            engine.score([PROMPT], [(5, 5)], policy=Policy())


@pytest.mark.parametrize("answer", [[1], {}, {"choices": []}, {"choices": [1]}, {"choices": "x"}, "page", None])
def test_answers_that_are_no_completion_are_faults(server: FakeVLLM, answer: object) -> None:
    with client(server) as engine:
        server.faults[COMPLETIONS] = lambda *_: (200, answer)
        with pytest.raises(EngineFault, match="gave this instead of a completion:"):
            draw(engine)
        server.faults[COMPLETIONS] = lambda *_: (401, "no key")
        with pytest.raises(EngineFault, match="refused a request: status 401"):
            draw(engine)


@pytest.mark.parametrize(
    "models", [["m"], [], {"m": 1}, [{"id": "m"}], [{"id": "m", "root": 3, "max_model_len": 9}], None]
)
def test_lists_of_models_that_are_not_vllms(server: FakeVLLM, models: object) -> None:
    server.faults[MODELS] = lambda *_: (200, {"data": models})
    with pytest.raises(ModelError, match="but not as a vLLM server does"):
        client(server)


@pytest.mark.parametrize("url", ["http://127.0.0.1:notaport", "http://", "ftp://x", "http://a\x00b"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="engine URL is '"):
        VLLMServer(url, vocab_size=10)


def test_the_wrong_root_and_a_key_are_told_apart_from_no_server(server: FakeVLLM) -> None:
    with pytest.raises(ModelError, match=r"/v1 is not the root of a vLLM server: leave out /v1"):
        VLLMServer(f"{server.url}/v1/", vocab_size=10)
    server.faults[MODELS] = lambda *_: (401, {"error": "Unauthorized"})
    with pytest.raises(ModelError, match=r"answers /v1/models with status 401, .*Unauthorized.*does not require a key"):
        client(server)


def test_a_server_started_from_another_folder_is_told_how_to_start(server: FakeVLLM, world: TinyWorld) -> None:
    server.root = "/".join(world.subject.parts[-2:])
    with pytest.raises(ModelError, match=re.escape(f"start it with --model {world.subject}")):
        client(server, model=str(world.subject))
    server.root = "elsewhere"
    with pytest.raises(ModelError, match=r"serves elsewhere, not .*; start one for that model"):
        client(server, model=str(world.subject))
