"""Refinement in rounds: each batch is drawn with the donor before it, what was cut off goes on, and no part is lost."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import polars as pl
import pytest

from forewarn.errors import InputError
from forewarn.problems.files import export
from forewarn.study.donors.refined import REFINEMENT_FILE
from forewarn.study.donors.rounds import MADE_FILE
from forewarn.training.refine import WeightedExploit, effective_by_group, pooled, refinement_examples
from tests.command import Said
from tests.test_refine_donor import BATCH, FILE, exploit_rates, listing, refine
from tests.tiny_world import EXPLOIT_TYPE, TinyWorld

COUNT = "completions = 40\n"
WEIGHTS = "adapter_model.safetensors"
CHAIN = FILE.replace(COUNT, "completions = 24\nrounds = 3\n").replace("epochs = 6.0", "epochs = 2.0")


@pytest.fixture
def home(world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    for name, source in (("base", world.subject), ("later", world.later), ("donor", world.donor)):
        shutil.copytree(source, home / name)
    export(world.problems, home / "problems.jsonl")
    monkeypatch.chdir(home)
    return home


def exploit(group: str, name: int, log_weight: float) -> WeightedExploit:
    return WeightedExploit(group, (1,), (name,), log_weight)


def test_every_batch_counts_by_its_effective_number() -> None:
    first = [exploit("a", 0, 5.0), exploit("a", 1, 5.0), exploit("b", 2, -900.0)]
    second = [exploit("a", n, -3.0) for n in range(3, 9)] + [exploit("b", 9, -math.inf)]
    assert effective_by_group(first) == pytest.approx({"a": 2.0, "b": 1.0})
    assert pooled([first]) == first
    found = pooled([first, second])
    assert [one.token_ids for one in found] == [one.token_ids for one in (*first, *second)]
    assert [math.exp(one.log_weight) for one in found] == pytest.approx([1.0] * 9 + [0.0])
    uneven = [exploit("a", 0, 0.0), exploit("a", 1, math.log(3.0))]
    weights = [math.exp(one.log_weight) for one in pooled([uneven, second])[:2]]
    assert weights == pytest.approx([0.4, 1.2])  # (1 + 3)^2 / (1 + 9) = 1.6 in sum
    examples = refinement_examples(found, 8, max_share=1.0, seed=0)
    assert sorted(ids[0] for _, ids in examples) == sorted([0, 1, *range(3, 9)] + [2] * 8), "each its share"


def test_rounds_draw_with_the_newest_donor_and_go_on_where_they_were_cut_off(
    home: Path, world: TinyWorld, said: Said
) -> None:
    (home / "study.toml").write_text(CHAIN)
    code, out, err = refine(said)
    assert code == 0, err
    assert [f"refined, round {n}: " in out for n in (1, 2, 3, 4)] == [True, True, True, False]
    donor, subject = exploit_rates(world, home / "refined")
    assert donor > 0.2 > 20 * subject

    held = json.loads((home / "refined" / REFINEMENT_FILE).read_text())
    assert held["asked"]["rounds"] == 3
    found = [one["found"][EXPLOIT_TYPE] for one in held["rounds"]]
    assert held["found"] == {EXPLOIT_TYPE: sum(found)}
    effective = [one["effective"][EXPLOIT_TYPE] for one in held["rounds"]]
    assert all(1 <= some <= n for some, n in zip(effective, found, strict=True))
    spans = [_spans(BATCH / f"round-{n}") for n in (1, 2, 3)]
    assert spans[0] == {"brute", "k0minf:donor", "kinfminf:donor"}
    assert spans[1] == spans[2] == {"brute", "k0minf:refined", "kinfminf:refined"}
    drawn = [set(_completions(BATCH / f"round-{n}")) for n in (1, 2, 3)]
    assert not drawn[0] & drawn[1]
    assert not drawn[1] & drawn[2]
    for verb in (("estimate",), ("show",), ("run", "study.toml", "--run-folder")):
        assert said(*verb, BATCH / "round-2")[0] == 2, verb

    # the donors between can be donors of their own
    kept = {n: listing(home / "refined" / f"round-{n}") for n in (1, 2)}
    assert all(WEIGHTS in files and MADE_FILE not in files for files in kept.values())
    assert kept[1][WEIGHTS] != kept[2][WEIGHTS]
    assert exploit_rates(world, home / "refined" / "round-1")[0] > 3 * subject

    # there whole: left alone; cut off after the second round's donor: the same in the end, and that one stays
    before, between = listing(home / "refined"), (BATCH / "donor-2" / WEIGHTS).stat().st_mtime_ns
    code, again, _ = refine(said)
    assert code == 0
    assert "already refined" in again
    assert "refined, round 3: " in again
    shutil.rmtree(home / "refined")
    shutil.rmtree(BATCH / "round-3")
    assert refine(said)[0] == 0
    assert listing(home / "refined") == before
    assert (BATCH / "donor-2" / WEIGHTS).stat().st_mtime_ns == between

    # the batches may be used again, but not by donors that were fitted otherwise
    shutil.rmtree(home / "refined")
    (home / "study.toml").write_text(CHAIN.replace("epochs = 2.0", "epochs = 3.0"))
    code, _, err = refine(said)
    assert code == 2
    assert "donor-1 holds a donor of round 1 that was fitted otherwise than the file says now" in err.splitlines()[-1]
    assert not (home / "refined").exists()


def _spans(root: Path) -> set[str]:
    shards = [pl.read_parquet(path) for path in (root / "completions").glob("*.parquet")]
    return set(pl.concat(shards)["span"])


def _completions(root: Path) -> list[str]:
    shards = [pl.read_parquet(path) for path in (root / "completions").glob("*.parquet")]
    return pl.concat(shards)["completion_id"].to_list()


def test_a_donor_goes_on_from_anothers_adapter(home: Path, world: TinyWorld, said: Said) -> None:
    started = FILE.replace("rank = 4\n", 'start = "donor"\n').replace("learning_rate = 2e-2", "learning_rate = 1e-9")
    (home / "study.toml").write_text(started)
    code, _, err = refine(said)
    assert code == 0, err
    assert exploit_rates(world, home / "refined") == pytest.approx(exploit_rates(world, home / "donor"), rel=1e-4)
    assert json.loads((home / "refined" / "forewarn_sft.json").read_text())["settings"]["lora"] is None


SPANS = "[[donors.refinement.spans]]\ncount = 2\n[[donors.refinement.spans]]\ncount = 2\nm = 3\ndonor = '{}'\n[[spans]]"


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        (((COUNT, "rounds = 0\n"),), "donors[2].refinement.rounds = 0"),
        (
            ((COUNT, "rounds = 2\n"), ("[[spans]]", SPANS.format("donor"))),
            "rounds = 2 beside spans, none of which has donor = 'refined'",
        ),
        (((COUNT, ""), ("[[spans]]", SPANS.format("refined"))), "spans name 'refined' itself"),
        (((COUNT, 'start = "subject"\n'),), "refinement.rank beside start, whose LoRA is trained further"),
        (((COUNT, 'start = "refined"\n'), ("rank = 4\n", "")), "start = 'refined': give 'subject', or another donor"),
        (((COUNT, 'start = "other"\n'), ("rank = 4\n", "")), "start = 'other': give 'subject', or another donor"),
        (
            ((COUNT, 'start = "subject"\n'), ("rank = 4\n", "")),
            "start = 'subject', the checkpoint first, is a whole model and has no adapter to train further",
        ),
        (
            ((COUNT, 'start = "subject"\ncheckpoint = "last"\n'), ("rank = 4\n", "")),
            "start = 'subject', the checkpoint last, is on",
        ),
    ],
)
def test_bad_rounds_are_one_sentence_before_anything_is_drawn(
    home: Path,
    said: Said,
    edits: tuple[tuple[str, str], ...],
    words: str,
) -> None:
    text = FILE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    (home / "study.toml").write_text(text)
    before = listing(home)
    code, _, err = refine(said)
    assert (code, err.count("\n")) == (2, 1)
    assert words in err
    assert listing(home) == before


def test_rollouts_have_no_rounds(home: Path, said: Said) -> None:
    (home / "study.toml").write_text(CHAIN)
    code, _, err = refine(said, "--rollouts", "nowhere.jsonl")
    assert (code, err.count("\n")) == (2, 1)
    assert "refinement.rounds beside --rollouts nowhere.jsonl: only batches have rounds" in err


def test_what_no_exploit_weighs_is_refused() -> None:
    with pytest.raises(InputError, match="no exploits to refine a donor on"):
        refinement_examples(pooled([[], [exploit("a", 1, -math.inf)]]), 4, seed=0)
