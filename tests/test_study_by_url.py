"""A study whose models are behind a vLLM server: what is refused before anything is written, and what is left there."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forewarn.checkpoints.sources import ModelSource
from forewarn.engines.registry import engine_kind
from forewarn.engines.vllm import line as vllm_line
from forewarn.engines.vllm.serve import ServeSettings, check_port_free
from forewarn.engines.vllm.server import VLLMServer
from forewarn.errors import EngineFault, InputError, ModelError
from forewarn.records import Completion, Policy, Span
from forewarn.study import Machine, PlannedSpan, Study, read_estimates, run_study
from forewarn.study.checks import check_context
from forewarn.study.models import ModelRoom, study_channels
from forewarn.study.stages.scoring import _check_against_sampling
from forewarn.study.stages.tasks import SampleTask
from forewarn.study.stages.work import OpenStudyRoom
from forewarn.workers.worker import _work
from tests.engines.fake_vllm import COMPLETIONS, UNLOAD, Answer, FakeVLLM, serving
from tests.study_runner import tiny_study
from tests.tiny_world import SPANS, TOKENS, TinyWorld, make_tokenizer

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


def test_a_run_ends_with_its_estimates_where_unloading_breaks(server: FakeVLLM, study: Study, tmp_path: Path) -> None:
    server.faults[UNLOAD] = lambda *_: (500, {"error": "broken"})
    cells = run_study(study, tmp_path / "run", machine=Machine(engine=server.url))
    assert len(cells) == read_estimates(tmp_path / "run").height == 2
    assert all(cell.estimate.n_hits > 0 for cell in cells)
    assert len(server.asked(UNLOAD)) == 2, "both adapters, each once"


def test_workers_take_their_adapters_with_them(
    server: FakeVLLM, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One worker's request is refused while the other is in the middle of its task."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    refused = []

    def refuse(_: int, answer: Answer) -> Answer:
        if len(server.loaded) == 4 and not refused:
            refused.append(len(list((tmp_path / "tmp").glob("forewarn-lora-*"))))
            return 400, {"error": "one too many"}
        return answer

    server.faults[COMPLETIONS] = refuse
    larger = dataclasses.replace(study, spans=tuple(PlannedSpan(p.span, 200) for p in study.spans))
    with pytest.raises(EngineFault, match=r"refused a request: status 400, .*one too many"):
        run_study(larger, tmp_path / "run", machine=Machine(engine=server.url, workers=2, batch_size=4096))
    assert refused == [2]
    assert not server.loaded
    assert not list((tmp_path / "tmp").glob("forewarn-lora-*"))
    assert "Traceback" not in capfd.readouterr().err


def test_a_worker_whose_parent_is_gone_says_nothing(study: Study, tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    cell = next(iter(study.cells()))
    ours.send(SampleTask(cell, tuple(study.blocks(cell))[:1], ("shard",), ()))
    ours.close()
    open_room = OpenStudyRoom(study, tmp_path, Machine(engine=NOWHERE))  # no server: the task fails
    assert _work(theirs, open_room, []) is None  # type: ignore[arg-type,func-returns-value]


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
    check_context(full, channels, engine_kind("transformers"))
    with pytest.raises(InputError, match=f"of which vLLM needs 1: lower max_total_tokens to {limit - 1} or less"):
        check_context(full, channels, engine_kind(server.url))
    fitting = dataclasses.replace(study, policy=Policy(max_total_tokens=limit - 1))
    check_context(fitting, channels, engine_kind(server.url))
    with VLLMServer(server.url, vocab_size=len(TOKENS)) as engine:
        for n, fits in ((limit - 1, True), (limit, False)):
            if fits:
                assert len(engine.score([longest], [(5,) * n], policy=Policy())[0]) == n
            else:
                with pytest.raises(InputError, match="pass the engine's context"):
                    engine.score([longest], [(5,) * n], policy=Policy())


def test_a_whole_model_that_is_done_with_is_closed(
    server: FakeVLLM, study: Study, world: TinyWorld, tmp_path: Path
) -> None:
    (tmp_path / "again").symlink_to(world.subject)
    both = tuple(ModelSource(f"step-{i}", str(f), step=i) for i, f in enumerate((world.subject, tmp_path / "again")))
    brute = dataclasses.replace(study, checkpoints=both, donors=(), spans=(PlannedSpan(Span(), 5),))
    room = ModelRoom(brute, Machine(engine=server.url).spec)
    first = room.subject(both[0]).engine
    call: dict[str, Any] = {"policy": Policy(), "seed": 0, "max_new_tokens": 2, "stop_ids": ()}
    first.sample([(5,)], **call)
    second = room.subject(both[1]).engine
    second.sample([(5,)], **call)
    with pytest.raises(RuntimeError):
        first.sample([(5,)], **call)
    room.close()
    with pytest.raises(RuntimeError):
        second.sample([(5,)], **call)


def test_an_adapters_own_tokenizer_must_be_the_studys(study: Study, world: TinyWorld, tmp_path: Path) -> None:
    folder = tmp_path / "donor"
    shutil.copytree(world.donor, folder)
    with_its_own = dataclasses.replace(study, donors=(ModelSource("donor", str(world.subject), str(folder)),))
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(str(folder))
    study_channels(with_its_own)
    tokenizer.add_tokens(["<|padding|>"])
    tokenizer.save_pretrained(str(folder))
    study_channels(with_its_own)  # a token behind the vocabulary changes no id
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    one, other = content["added_tokens"][5:7]
    one["content"], other["content"] = other["content"], one["content"]
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"the adapter of donor \(.*\) brings another tokenizer than"):
        study_channels(with_its_own)


def test_scores_that_are_no_numbers_do_not_agree_with_what_was_sampled(study: Study) -> None:
    cell = next(iter(study.cells()))
    hit = Completion(
        completion_id="a",
        problem_id=study.problems[0].problem_id,
        checkpoint_id=cell.checkpoint.model_id,
        span=Span(),
        token_ids=(5,),
        n_reasoning=1,
        donor_wrote=(False,),
        finish_reason="length",
        trace_id="a",
        policy=study.policy,
        seed=0,
    )
    _check_against_sampling([hit], [(-1.0,)], {cell.checkpoint.model_id: [(-1.0,)]}, cell, study)
    with pytest.raises(EngineFault, match="differ from what was sampled by nan nats"):
        _check_against_sampling([hit], [(-1.0,)], {cell.checkpoint.model_id: [(np.nan,)]}, cell, study)


def test_hosts_and_ports_to_listen_on() -> None:
    with pytest.raises(InputError, match="host 'no such host' is not an address"):
        check_port_free(ServeSettings("m", host="no such host"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of 127.0.0.1 is taken"):
            check_port_free(ServeSettings("m", port=port))
    check_port_free(ServeSettings("m", port=port))
