"""Every attack is stopped where the table says so, and gets through without its defences; each stops it alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from forewarn.sandbox.inside.defences import DEFENCES, OF_LEVEL
from tests.attacks.arena import Arena
from tests.attacks.attack import PARENT_DEFENCES, Attack
from tests.attacks.catalogue import CATALOGUE
from tests.attacks.table import BLOCK, PAGE, expected_rows, tables

AT_LEAST = 50
BY_NAME = {attack.name: attack for attack in CATALOGUE}
SHARED = {name: attack for name, attack in BY_NAME.items() if len(attack.without) > 1}


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    opened = Arena()
    yield opened
    opened.close()


def test_the_catalogue_is_whole() -> None:
    assert len(CATALOGUE) == len(BY_NAME) >= AT_LEAST
    for attack in CATALOGUE:
        assert attack.without
        assert set(attack.without) <= OF_LEVEL["strict"] | PARENT_DEFENCES.keys()


def test_every_defence_has_an_attack_that_it_alone_can_stop() -> None:
    used = {name for attack in CATALOGUE for name in attack.without}
    assert used == DEFENCES.keys() | PARENT_DEFENCES.keys()


@pytest.mark.parametrize("name", BY_NAME)
def test_strict_stops(name: str, arena: Arena, tmp_path: Path) -> None:
    assert arena.answer(BY_NAME[name], "strict", tmp_path) == "stopped"


@pytest.mark.parametrize("name", BY_NAME)
def test_hardened_does_what_the_table_says(name: str, arena: Arena, tmp_path: Path) -> None:
    assert arena.answer(BY_NAME[name], "hardened", tmp_path) == BY_NAME[name].hardened


@pytest.mark.parametrize("name", BY_NAME)
def test_it_gets_through_without_its_defences(name: str, arena: Arena, tmp_path: Path) -> None:
    attack = possible(name)
    assert arena.answer(attack, "strict", tmp_path, attack.without) == "got through"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "defence"), [(name, defence) for name, attack in SHARED.items() for defence in attack.without]
)
def test_each_of_its_defences_stops_it_alone(name: str, defence: str, arena: Arena, tmp_path: Path) -> None:
    attack = possible(name)
    assert arena.answer(attack, "strict", tmp_path, set(attack.without) - {defence}) == "stopped"


def possible(name: str) -> Attack:
    attack = BY_NAME[name]
    if (why_not := attack.possible()) is not None:
        pytest.skip(why_not)
    return attack


def test_the_page_says_what_the_catalogue_says() -> None:
    written = BLOCK.search(PAGE.read_text())
    assert written is not None
    assert written.group() == tables(expected_rows()), "python -m tests.attacks.table --write brings it up to date"
