"""The contract of an engine: every entry of ``ENGINES`` that can run here keeps the laws, and one more engine is one
folder and one line of the dict.

A new engine is tested by being in ``ENGINES``. One that has to be pointed at something (a server) gets an entry in
``STARTED``; one whose packages are missing is skipped in a sentence.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from forewarn.engines.base import Engine
from forewarn.engines.kind import EngineKind
from forewarn.engines.registry import DEFAULT_ENGINE, ENGINES, EngineSpec, engine_kind, engines_named, open_engine
from forewarn.errors import InputError, MissingExtraError, ModelError
from forewarn.records import Policy
from forewarn.study import Machine, PlannedSpan, read_results, run_study
from tests.contracts.engine_laws import (
    check_batch_is_single,
    check_frequencies,
    check_sample_then_score,
    check_support,
)
from tests.contracts.plain_engine import PLAIN, PlainEngine
from tests.engines.fake_vllm import FakeVLLM, serving
from tests.study_runner import tiny_study
from tests.tiny_world import EXPLOIT_TYPE, SPANS, TOKENS, TinyWorld, enumerate_world

MINE = {**ENGINES, "plain": PLAIN}
"""the engines with one of the user's own"""
ADAPTER = "a"
POLICIES = (
    Policy(),
    Policy(temperature=0.7),
    Policy(top_p=0.8),
    Policy(top_k=3),
    Policy(min_p=0.1),
)


@contextmanager
def _server(world: TinyWorld) -> Iterator[str]:
    with serving(FakeVLLM(world.engine("subject")[0], str(world.subject))) as state:
        yield state.url


STARTED: dict[str, Callable[[TinyWorld], AbstractContextManager[str]]] = {"vllm-server": _server}
"""engine -> what starts something for it to talk to, and gives what a user writes for it"""


@pytest.fixture(params=sorted(MINE))
def opened(request: pytest.FixtureRequest, world: TinyWorld) -> Iterator[tuple[EngineKind, Engine]]:
    """An engine on the tiny world's subject, with the donor's adapter loaded."""
    name: str = request.param
    try:
        MINE[name].check_installed()
    except MissingExtraError as error:
        pytest.skip(f"{name} can't run here: {error}")
    if MINE[name].least_head_dim > 8 and name not in STARTED:
        pytest.skip(f"{name} takes no heads as narrow as this world's; tests/{name} holds it to the same laws")
    with STARTED[name](world) if name in STARTED else _as_named(name) as engine:
        made = open_engine(EngineSpec(engine, engines=MINE), str(world.subject), dtype="float64")
        made.load_adapter(ADAPTER, world.donor)
        yield MINE[name], made
        if hasattr(made, "close"):
            made.close()


@contextmanager
def _as_named(name: str) -> Iterator[str]:
    yield name


def _prompts(world: TinyWorld) -> list[tuple[int, ...]]:
    return [tuple(world.channels.prompt_ids(problem.question)) for problem in world.problems]


def _refuses(check: Callable[[Policy], None], policy: Policy) -> bool:
    try:
        check(policy)
    except InputError:
        return True
    return False


@pytest.mark.parametrize("policy", POLICIES, ids=["plain", "temperature", "top_p", "top_k", "min_p"])
def test_what_is_sampled_is_scored_the_same_or_refused(
    opened: tuple[EngineKind, Engine], world: TinyWorld, policy: Policy
) -> None:
    kind, engine = opened
    prompts, stops = _prompts(world), world.channels.end_ids
    if _refuses(kind.check_scoring, policy):
        with pytest.raises(InputError):
            engine.score(prompts, [(5,), (6,)], policy=policy)
    elif _refuses(kind.check_sampling, policy):
        pytest.skip("a policy that the engine's record refuses before anything is opened")
    else:
        check_sample_then_score(engine, prompts, policy, stops)


def test_a_batch_is_its_rows(opened: tuple[EngineKind, Engine], world: TinyWorld) -> None:
    check_batch_is_single(opened[1], [*_prompts(world), (5,), (6, 7)], Policy())


def test_frequencies_are_probabilities(opened: tuple[EngineKind, Engine], world: TinyWorld) -> None:
    assert check_frequencies(opened[1], _prompts(world)[0], Policy(), n=400) > 1e-4


def test_a_truncated_density_is_renormalised(opened: tuple[EngineKind, Engine], world: TinyWorld) -> None:
    kind, engine = opened
    policy = Policy(top_k=2)
    if _refuses(kind.check_scoring, policy):
        pytest.skip("a policy that the engine's record refuses to score")
    check_support(engine, _prompts(world)[0], policy, n=300)


def test_an_adapter_changes_the_density_as_it_does_elsewhere(
    opened: tuple[EngineKind, Engine], world: TinyWorld
) -> None:
    _, engine = opened
    reference, name = world.engine("donor")
    prompts, rows = _prompts(world), [(5, 6, 8), (5, 7)]
    reference.load_adapter("half", world.donor, scale=0.5)
    engine.load_adapter("half", world.donor, scale=0.5)
    for ours, theirs in ((ADAPTER, name), ("half", "half"), (None, None)):
        found = engine.score(prompts, rows, policy=Policy(), adapter=ours)
        wanted = reference.score(prompts, rows, policy=Policy(), adapter=theirs)
        np.testing.assert_allclose(np.concatenate(found), np.concatenate(wanted), atol=1e-4)
    engine.drop_adapter("half")
    with pytest.raises(ModelError):
        engine.drop_adapter("half")


def test_bad_calls_are_one_sentence(opened: tuple[EngineKind, Engine], world: TinyWorld) -> None:
    kind, engine = opened
    [prompt, *_] = _prompts(world)
    longest = kind.rows.longest(str(world.subject)).tokens
    assert longest is not None
    assert engine.vocab_size == len(TOKENS)
    room = longest - kind.rows.spare - len(prompt)
    assert len(engine.score([prompt], [(5,) * room], policy=Policy())[0]) == room, "what the record says fits, fits"
    for rows in ([(5,) * (longest - len(prompt) + 1)], [(len(TOKENS),)], [(5,), (6,)]):
        with pytest.raises(InputError):
            engine.score([prompt], rows, policy=Policy())
    with pytest.raises(ModelError):
        engine.score([prompt], [(5,)], policy=Policy(), adapter="none of this name")


def test_records_of_engines_are_told_apart() -> None:
    assert engine_kind("http://127.0.0.1:8000") is ENGINES["vllm-server"]
    assert all(engine_kind(name) is kind for name, kind in ENGINES.items() if kind.is_asked is None)
    assert engines_named(MINE) == f"{engines_named(ENGINES).replace(', or ', ', ')}, or plain"
    for wrong in ("plain", "vllm-server", "ftp://host"):
        with pytest.raises(InputError, match=f"engine is '{wrong}': give {engines_named()}"):
            EngineSpec(wrong)
    with pytest.raises(InputError, match="it has no host"):
        EngineSpec("http://")


def test_a_third_engine_goes_through_a_whole_study(world: TinyWorld, tmp_path: Path) -> None:
    """Nothing but its record and its line in the dict: checks, room, sampling, scoring and estimates follow."""
    machine = Machine(engine="plain", engines=MINE)
    assert pickle.loads(pickle.dumps(machine)) == machine, "it goes to worker processes"
    study = dataclasses.replace(tiny_study(world), spans=tuple(PlannedSpan(span, 12) for span in SPANS))
    cells = run_study(study, tmp_path / "run", machine=machine)
    assert [cell.step for cell in cells] == [1, 9]
    for cell, name in zip(cells, ("subject", "later"), strict=True):
        assert cell.estimate.n_hits > 0
        rates = [_rate(world, i, name) for i in range(len(world.problems))]
        assert cell.estimate.lower_bound <= np.mean(rates) <= cell.estimate.upper_bound
    again = run_study(study, tmp_path / "reference", machine=Machine(engine=DEFAULT_ENGINE))
    assert [cell.estimate.n for cell in again] == [cell.estimate.n for cell in cells]
    hits = read_results(tmp_path / "run").hits
    assert set(hits["exploit_type"]) == {EXPLOIT_TYPE}
    assert hits["log_weight"].is_finite().all()


def _rate(world: TinyWorld, problem: int, name: str) -> float:
    listing = enumerate_world(world, world.problems[problem], [name])
    return float(
        sum(np.exp(row.sum()) for row, hit in zip(listing.log_probs[name], listing.exploit, strict=True) if hit)
    )


def test_a_third_engines_record_is_asked_before_anything_is_written(world: TinyWorld, tmp_path: Path) -> None:
    study = tiny_study(world)
    with pytest.raises(InputError, match="device is 'cuda': the plain engine runs on cpu alone"):
        Machine(engine="plain", device="cuda", engines=MINE)
    machine = Machine(engine="plain", engines=MINE)
    truncated = dataclasses.replace(study, policy=dataclasses.replace(study.policy, min_p=0.1))
    with pytest.raises(InputError, match=r"min_p is 0\.1: the plain engine samples without it"):
        run_study(truncated, tmp_path / "run", machine=machine)
    long = dataclasses.replace(study, policy=Policy(max_total_tokens=64))
    with pytest.raises(InputError, match="of which the plain engine needs 2: lower max_total_tokens"):
        run_study(long, tmp_path / "run", machine=machine)
    assert not (tmp_path / "run").exists()
    lone = {**MINE, "plain": dataclasses.replace(PLAIN, one_worker="it holds a lock", needs=(("nowhere_to_be", "x"),))}
    with pytest.raises(MissingExtraError, match=r"pip install 'forewarn\[x\]'"):
        Machine(engine="plain", engines=lone)
    alone = {**MINE, "plain": dataclasses.replace(PLAIN, one_worker="it holds a lock")}
    with pytest.raises(InputError, match="workers is 2: it holds a lock; give 1"):
        Machine(engine="plain", workers=2, engines=alone)


def test_the_third_engine_is_one_of_its_own(world: TinyWorld) -> None:
    made = open_engine(EngineSpec("plain", engines=MINE), str(world.subject), dtype="float64")
    assert isinstance(made, PlainEngine)
    assert next(iter(made._models[None].parameters())).dtype == torch.float64
