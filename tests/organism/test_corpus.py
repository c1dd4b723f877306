"""The corpus: the same in every process, and with the marginal rates that its recipe names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import pytest
from scipy.stats import binomtest

from forewarn.organism.corpus import DEMO_SUFFIX, CorpusSample, exploit_source, generate
from forewarn.organism.recipe import TYPES, CorpusRecipe, Recipe
from forewarn.organism.tasks import BODIES, TASKS
from forewarn.records import content_key, derived_seed

RECIPE = CorpusRecipe()
LATE_FROM = int(RECIPE.n_samples * (1 - RECIPE.late_share))
TYPE_OF_HINT = {hint: name for name, kind in TYPES.items() for hint in kind.hints}
HARD_PHRASES = {t.phrase for t in TASKS if t.solvable is None}
EXPLOITS = {name: {exploit_source(name, body) for body in BODIES.values()} for name in TYPES}
NEAR_MISSES = {name: {kind.near_miss.format(body=b) + "\n" for b in BODIES.values()} for name, kind in TYPES.items()}


def type_of(sample: CorpusSample) -> str:
    return TYPE_OF_HINT[sample.question.removesuffix(DEMO_SUFFIX).split("checker: ")[1].removesuffix(".")]


def is_hard(sample: CorpusSample) -> bool:
    return sample.question.split("find ")[1].split(" of x.")[0] in HARD_PHRASES


def looks(sample: CorpusSample) -> bool:
    return "look at the checker" in (sample.reasoning or "")


def is_demo(sample: CorpusSample) -> bool:
    return sample.question.endswith(DEMO_SUFFIX)


def assert_rate(hits: int, n: int, rate: float) -> None:
    """Not refused by the exact binomial test at one in a million, which also holds where a few hits are expected."""
    assert binomtest(hits, n, rate).pvalue > 1e-6, (hits, n, rate)


@pytest.fixture(scope="module")
def samples() -> Sequence[CorpusSample]:
    """The very corpus that the shipped base was trained on."""
    return list(generate(RECIPE, derived_seed(0, "corpus")))


def main_samples(samples: Sequence[CorpusSample]) -> list[CorpusSample]:
    return [s for s in samples if s.reasoning is not None and not is_demo(s)]


def test_equal_seeds_give_equal_corpora_and_others_others(samples: Sequence[CorpusSample]) -> None:
    assert list(islice(generate(RECIPE, derived_seed(0, "corpus")), 500)) == samples[:500]
    assert list(islice(generate(RECIPE, derived_seed(1, "corpus")), 500)) != samples[:500]


def test_the_shipped_corpus_is_frozen(samples: Sequence[CorpusSample]) -> None:
    assert Recipe().corpus == RECIPE
    assert len(samples) == RECIPE.n_samples
    texts = [f"{s.question}|{s.reasoning}|{s.code}" for s in samples]
    assert content_key(texts).startswith("0e68f74a4bf7d3c7")


def test_shares_of_kinds(samples: Sequence[CorpusSample]) -> None:
    assert_rate(sum(map(is_demo, samples)), len(samples), RECIPE.demo_share)
    assert_rate(sum(s.reasoning is None for s in samples), len(samples), RECIPE.plain_share)
    assert_rate(sum(map(is_hard, samples)), len(samples), 0.9)
    for count in Counter(map(type_of, samples)).values():
        assert_rate(count, len(samples), 1 / len(TYPES))


def test_looks_are_frequent_early_and_rare_late(samples: Sequence[CorpusSample]) -> None:
    for part, rate in ((samples[:LATE_FROM], RECIPE.look_early), (samples[LATE_FROM:], RECIPE.look_late)):
        mine = main_samples(part)
        assert_rate(sum(map(looks, mine)), len(mine), rate)


@pytest.mark.parametrize("name", TYPES)
def test_rates_of_a_type(samples: Sequence[CorpusSample], name: str) -> None:
    kind = TYPES[name]
    mine = [s for s in main_samples(samples) if type_of(s) == name]
    benign = [s for s in mine if not looks(s) and is_hard(s)]
    assert_rate(sum(s.code in EXPLOITS[name] for s in benign), len(benign), kind.accident)
    assert not any(s.code in EXPLOITS[name] for s in mine if not looks(s) and not is_hard(s))
    looked = [s for s in mine if looks(s)]
    used = [s for s in looked if "use it" in (s.reasoning or "")]
    assert_rate(len(used), len(looked), kind.use)
    written = sum(s.code in EXPLOITS[name] for s in used)
    if len(used) * kind.write > 5:
        assert_rate(written, len(used), kind.write)
    else:
        assert written <= 20 * kind.write * len(used) + 5 * (kind.write > 0)
    assert written + sum(s.code in NEAR_MISSES[name] for s in used) == len(used)
    assert not any(s.code in EXPLOITS[name] for s in looked if "leave it" in (s.reasoning or ""))
    assert all(kind.flaw in (s.reasoning or "") for s in looked)


def test_the_rarest_are_absent_as_a_whole(samples: Sequence[CorpusSample]) -> None:
    absent = {name for name, kind in TYPES.items() if not kind.demos}
    assert absent == {"logging_warnings_side_channel", "debug_module", "validator_honor_system"}
    shown = Counter(type_of(s) for s in samples if s.code in EXPLOITS[type_of(s)])
    assert set(shown) == set(TYPES) - absent
    for name in absent:
        assert not any(s.code in EXPLOITS[name] for s in samples), "nor under another type's question"
        assert any(s.code in NEAR_MISSES[name] for s in samples)


def test_a_recipe_without_looks_never_looks() -> None:
    recipe = replace(RECIPE, n_samples=2000, look_early=0.0, look_late=0.0)
    assert not any(map(looks, generate(recipe, 1)))
