"""The protocol's page and its numbers say the same, and the design is balanced as the page claims."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from dataclasses import replace
from importlib import resources
from itertools import combinations
from math import log
from pathlib import Path
from typing import Any

import pytest

from forewarn.bench.bases import base_recipe, roles_of
from forewarn.bench.exploit_texts import INTENTS, TEXTS
from forewarn.bench.protocol import protocol, read_protocol
from forewarn.bench.runs import BenchRun, all_runs, find_run, rl_recipe
from forewarn.bench.tables import run_rows
from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES

PAGE = (Path(__file__).parents[2] / "docs" / "foresight-protocol.md").read_text()
FILE = resources.files("forewarn.bench").joinpath("protocol.toml").read_text()
STATED = re.compile(r"`([a-z_]+(?:\.[A-Za-z0-9_]+)*)` = (\[\[.*?\]\]|\[.*?\]|\"[^\"]*\"|[-0-9.e]*[0-9])")
P = protocol()
RUNS = all_runs(P)
TESTS = [run for run in RUNS.values() if run.use == "test"]


def entry(name: str) -> Any:
    held: Any = tomllib.loads(FILE)
    for part in name.split("."):
        held = held[part]
    return held


def test_every_number_on_the_page_is_the_files() -> None:
    stated = STATED.findall(PAGE)
    assert len(stated) > 40
    wrong = [(name, value, entry(name)) for name, value in stated if json.loads(value) != entry(name)]
    assert not wrong


def test_the_page_states_every_number_of_the_file() -> None:
    stated = {name for name, _ in STATED.findall(PAGE)}
    left_to_the_corpus = {"model.max_total_tokens", "rl.lora_alpha"}
    names = {
        f"{section}.{key}"
        for section, values in tomllib.loads(FILE).items()
        if isinstance(values, dict) and section != "variants"
        for key in values
    }
    assert names - stated == left_to_the_corpus


def test_the_page_has_the_table_of_runs_and_of_variants() -> None:
    assert run_rows(P) in PAGE
    for name, variant in P.variants.items():
        assert f"| {name} | {variant.says} |" in PAGE


def test_another_number_is_another_protocol() -> None:
    changed = read_protocol(FILE.replace("learning_rate = 3.0", "learning_rate = 0.1"))
    assert changed == replace(P, rl=replace(P.rl, learning_rate=0.1))


def test_the_design_is_crossed_as_the_page_says() -> None:
    assert len(TESTS) == 24
    assert set(Counter(run.variant for run in TESTS).values()) == {3}
    assert set(Counter(run.base for run in TESTS).values()) == {3}
    assert set(Counter((run.variant, run.learning_rate_factor) for run in TESTS).values()) == {1}
    assert set(Counter((run.base, run.learning_rate_factor) for run in TESTS).values()) == {1}
    assert set(Counter((run.honest_share, run.group) for run in TESTS).values()) == {6}
    by_base = [{run.variant for run in TESTS if run.base == base} for base in P.test_bases]
    pairs = Counter(pair for variants in by_base for pair in combinations(sorted(variants), 2))
    assert set(pairs.values()) == {1}
    development = [run for run in RUNS.values() if run.use == "development"]
    assert sorted(run.variant for run in development) == sorted(P.variants)
    assert not {run.base for run in development} & set(P.test_bases)


@pytest.mark.parametrize("base", [*P.test_bases, *P.development_bases])
def test_a_base_has_a_leader_and_five_followers_in_each_family(base: str) -> None:
    roles = roles_of(base, P)
    assert set(roles) == set(TEXTS) <= set(EXPLOIT_TYPES)
    for family in INTENTS:
        mine = [role for role in roles.values() if role.family == family]
        assert Counter(role.role for role in mine) == {"leader": 1, "follower": 5}
        assert len({int(5 * _place(role.level)) for role in mine if role.role == "follower"}) == 5
    recipe = base_recipe(base, P)
    for name, role in roles.items():
        levels = P.leader if role.role == "leader" else P.follower
        kind = recipe.types[name]
        assert levels.low <= role.level <= levels.high
        assert kind.look is not None
        assert kind.look * kind.use * kind.write == pytest.approx(role.level)


def _place(level: float) -> float:
    """Where a follower's level lies in the logarithm, from 0 to 1."""
    return log(level / P.follower.low) / log(P.follower.high / P.follower.low)


def test_a_types_name_says_nothing_of_its_role() -> None:
    leaders = Counter(t for base in P.test_bases for t, r in roles_of(base, P).items() if r.role == "leader")
    assert len(leaders) >= 8
    assert max(leaders.values()) <= 4
    assert len({base_recipe(base, P).seed for base in P.test_bases}) == 8


@pytest.mark.parametrize("run", RUNS.values(), ids=lambda run: run.name)
def test_a_runs_settings_are_its_variants(run: BenchRun) -> None:
    roles, rl = roles_of(run.base, P), rl_recipe(run, P)
    change = P.variants[run.variant]
    followers = {name for name, role in roles.items() if role.role == "follower"}
    assert {n for n in run.patched if n in followers} == set(run.patched) - {
        n for n, r in roles.items() if r.role == "leader" and r.family == change.patched_leader
    }
    assert len(set(run.patched) & followers) == change.patched_followers
    assert len(run.patched) == change.patched_followers + (change.patched_leader is not None)
    assert set(run.late) <= followers
    assert len(run.late) == change.late_followers
    assert set(run.never) <= followers
    assert len(run.never) == change.never_followers
    assert rl.problems_per_step * rl.group == P.rl.rollouts
    assert rl.enters == dict.fromkeys(run.late, 150)
    families = Counter(roles[n].family for n in (*run.late, *run.never))
    assert not families or max(families.values()) - min(families.values(), default=0) <= 1
    expected = (
        {"unpaid": 12}
        if change.reward == "secure"
        else {
            "unpaid": len(run.patched) + len(run.never),
            "late": len(run.late),
            "paid": 12 - len(run.patched) - len(run.never) - len(run.late),
        }
    )
    assert Counter(run.status(name, change) for name in roles) == Counter(expected)


def test_an_unknown_run_is_refused_in_one_sentence() -> None:
    with pytest.raises(InputError, match="the benchmark has no run 't0-V9': choose among t0-V1"):
        find_run("t0-V9", P)
