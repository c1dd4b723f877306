"""A real vLLM, in this process and as a server: the laws of every engine, and agreement with the reference engine."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from forewarn.engines.transformers.engine import HFEngine
from forewarn.engines.vllm.engine import VLLMEngine
from forewarn.engines.vllm.serve import Server, ServeSettings
from forewarn.engines.vllm.server import VLLMServer
from forewarn.errors import EngineFault, InputError, ModelError
from forewarn.records import Policy
from tests.contracts.engine_laws import check_batch_is_single, check_frequencies, check_sample_then_score
from tests.vllm.conftest import Small

# vLLM's own imports warn of what torch deprecates; that is not ours to mend
pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]
PLAIN = Policy(max_total_tokens=128)
Vllm = VLLMEngine | VLLMServer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module", params=["in process", "server"])
def engine(request: pytest.FixtureRequest, small: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    if request.param == "in process":
        inside = VLLMEngine.from_folder(small.base, max_lora_rank=16, max_loras=2)
        yield _with_adapters(inside, small)
        inside.close()
        return
    log = tmp_path_factory.mktemp("server") / "log"
    settings = ServeSettings(str(small.base), port=free_port(), max_lora_rank=16, max_loras=2)
    with Server(settings, log=log), VLLMServer(settings.url, vocab_size=768, model=str(small.base)) as client:
        yield _with_adapters(client, small)


def _with_adapters(engine: Vllm, small: Small) -> Vllm:
    engine.load_adapter("early", small.early)
    engine.load_adapter("late", small.late)
    return engine


def test_scoring_a_sample_gives_its_own_log_probs(engine: Vllm, small: Small) -> None:
    check_sample_then_score(engine, small.prompts, PLAIN, small.end_ids)


def test_batched_equals_single(engine: Vllm, small: Small) -> None:
    check_batch_is_single(engine, small.prompts, PLAIN)


def test_frequencies_are_the_probabilities(engine: Vllm, small: Small) -> None:
    """Two tokens after a long prompt whose next token has few likely values: all 768 x k pairs would be many."""
    assert check_frequencies(engine, small.prompts[0], PLAIN, 4_000) > 1e-4


@pytest.mark.parametrize("adapter", [None, "early", "late"])
def test_it_agrees_with_the_reference_engine(
    engine: Vllm, reference: HFEngine, small: Small, adapter: str | None
) -> None:
    samples = engine.sample(
        small.prompts, policy=PLAIN, seed=3, max_new_tokens=60, stop_ids=small.end_ids, n=8, adapter=adapter
    )
    prompts = [prompt for prompt in small.prompts for _ in range(8)]
    ids = [sample.token_ids for sample in samples]
    ours = reference.score(prompts, ids, policy=PLAIN, adapter=adapter)
    theirs = engine.score(prompts, ids, policy=PLAIN, adapter=adapter)
    gaps = [float(np.abs(np.cumsum(a - b)).max()) for a, b in zip(ours, theirs, strict=True)]
    assert max(gaps) < 0.05, "log-weights must agree"
    for sample, score in zip(samples, ours, strict=True):
        np.testing.assert_allclose(sample.log_probs, score, rtol=0, atol=2e-3)
    assert len(set(ids)) > 8, "rows of one prompt must differ"


def test_adapters_change_the_density_and_scale_is_a_ladder(engine: Vllm, reference: HFEngine, small: Small) -> None:
    engine.load_adapter("half", small.late, scale=0.5)
    reference.load_adapter("half", small.late, scale=0.5)
    try:
        continuation = [tuple(range(20, 50))] * 4
        found = {
            name: engine.score(small.prompts, continuation, policy=PLAIN, adapter=name)
            for name in (None, "late", "half")
        }
        assert max(np.abs(a - b).max() for a, b in zip(found[None], found["late"], strict=True)) > 0.1
        expected = reference.score(small.prompts, continuation, policy=PLAIN, adapter="half")
        for a, b in zip(found["half"], expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=5e-3)
    finally:
        engine.drop_adapter("half")
        reference.drop_adapter("half")
    with pytest.raises(ModelError, match="no adapter named 'half'"):
        engine.score(small.prompts, continuation, policy=PLAIN, adapter="half")


def test_seeds_decide_and_batches_do_not(engine: Vllm, small: Small) -> None:
    def draw(seed: int, prompts: tuple[tuple[int, ...], ...]) -> list[tuple[int, ...]]:
        found = engine.sample(prompts, policy=PLAIN, seed=seed, max_new_tokens=20, stop_ids=small.end_ids, n=2)
        return [sample.token_ids for sample in found]

    assert draw(5, small.prompts) == draw(5, small.prompts)
    assert draw(5, small.prompts) != draw(6, small.prompts)
    assert draw(5, small.prompts[:1]) == draw(5, small.prompts)[:2]


@pytest.mark.parametrize("policy", [Policy(temperature=0.7), Policy(top_p=0.8), Policy(top_k=5), Policy(min_p=0.1)])
def test_policies_are_sampled_exactly_and_not_scored(
    engine: Vllm, reference: HFEngine, small: Small, policy: Policy
) -> None:
    samples = engine.sample(small.prompts, policy=policy, seed=1, max_new_tokens=20, stop_ids=small.end_ids, n=4)
    prompts = [prompt for prompt in small.prompts for _ in range(4)]
    scores = reference.score(prompts, [s.token_ids for s in samples], policy=policy)
    for sample, score in zip(samples, scores, strict=True):
        np.testing.assert_allclose(sample.log_probs, score, rtol=0, atol=2e-3)
    with pytest.raises(InputError, match="can't be scored by vLLM"):
        engine.score(small.prompts, [(5,)] * 4, policy=policy)


def test_bad_calls_are_one_sentence(engine: Vllm, small: Small, tmp_path: Path) -> None:
    call = {"policy": PLAIN, "seed": 0, "max_new_tokens": 4, "stop_ids": ()}
    with pytest.raises(InputError, match="prompt is empty"):
        engine.sample([()], **call)
    with pytest.raises(InputError, match="token id 9999"):
        engine.sample([(9999,)], **call)
    with pytest.raises(InputError, match="pass the engine's context of 256"):
        engine.sample([(5,) * 255], **call)
    with pytest.raises(InputError, match=r"min_p is 0\.1 together with top_p"):
        engine.sample(small.prompts, **(call | {"policy": Policy(min_p=0.1, top_p=0.5)}))
    with pytest.raises(ModelError, match="no adapter named 'x'"):
        engine.sample(small.prompts, **call, adapter="x")
    with pytest.raises(ModelError, match="adapter_config"):
        engine.load_adapter("x", small.base)
    with pytest.raises(ModelError, match="loaded already"):
        engine.load_adapter("late", small.late)
    if isinstance(engine, VLLMEngine):
        large = tmp_path / "large"
        shutil.copytree(small.late, large)
        config = json.loads((large / "adapter_config.json").read_text())
        (large / "adapter_config.json").write_text(json.dumps(config | {"r": 64}))
        with pytest.raises(ModelError, match="has rank 64, but vLLM was started for at most 16"):
            engine.load_adapter("large", large)
    empty = engine.sample(small.prompts, **(call | {"max_new_tokens": 0}))
    assert [s.token_ids for s in empty] == [()] * 4
    assert engine.score(small.prompts[:1], [()], policy=PLAIN)[0].shape == (0,)


def test_a_server_that_dies_is_a_fault_and_a_new_client_says_so(small: Small, tmp_path: Path) -> None:
    settings = ServeSettings(str(small.base), port=free_port(), max_lora_rank=16, max_loras=1)
    with Server(settings, log=tmp_path / "log") as server:
        client = VLLMServer(settings.url, vocab_size=768, timeout_s=20)
        assert client.healthy()
        with pytest.raises(ModelError, match=r"serves .*, not elsewhere"):
            VLLMServer(settings.url, vocab_size=768, model="elsewhere")
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(
                client.sample, small.prompts * 50, policy=PLAIN, seed=0, max_new_tokens=80, stop_ids=(), n=4
            )
            server.stop()
            with pytest.raises(EngineFault, match="failed 5 times in a row"):
                work.result()
        assert not client.healthy()
        client.close()
    with pytest.raises(ModelError, match="no vLLM server answers"):
        VLLMServer(settings.url, vocab_size=768)


ENDED = """
import os, pathlib, sys
from forewarn.engines.vllm.engine import VLLMEngine

def names():
    return {pathlib.Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in os.listdir("/proc/self/task")}

engine = VLLMEngine.from_folder(sys.argv[1], max_lora_rank=16)
running = {name for name in names() if name.startswith("ZMQ")}
engine.close()
print(len(running), sorted(name for name in names() if name.startswith("ZMQ")))
"""


def test_nothing_of_an_engine_that_was_closed_runs_on(small: Small) -> None:
    """What still runs while Python goes down can abort the process after all its work is done (exit 134)."""
    done = subprocess.run(
        [sys.executable, "-c", ENDED, str(small.base)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    n_before, after = done.stdout.strip().splitlines()[-1].split(" ", 1)
    assert int(n_before) > 0, "vLLM runs threads of ZeroMQ, or there is nothing to wait for"
    assert after == "[]"
