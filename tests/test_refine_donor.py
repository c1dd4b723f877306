"""``forewarn refine-donor``: fitted to a batch or to rollouts, resumable, and both are kept out of every estimate."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import InputError
from forewarn.formats import Channels
from forewarn.problems.files import export
from forewarn.records import Span
from forewarn.store import RunFolder
from forewarn.study import read_cells
from forewarn.study.config.file import read_study_file
from forewarn.study.donors.batch_plan import batch_study
from forewarn.study.donors.refined import REFINEMENT_FILE
from forewarn.study.donors.rollouts import rollout_exploits
from forewarn.training.reward import RolloutLog, RolloutRow
from tests.command import Said
from tests.tiny_world import EXPLOIT_TYPE, HEAD, MAGIC, POLICY, SAME, THINK, ZERO, TinyWorld, enumerate_world

FILE = """
name = "tiny"
seed = 3
[problems]
file = "problems.jsonl"
[policy]
max_total_tokens = 4
[format]
name = "plain-think"
[engine]
dtype = "float64"
[[checkpoints]]
path = "base"
step = 1
name = "first"
[[checkpoints]]
path = "later"
step = 9
name = "last"
[[donors]]
name = "donor"
path = "donor"
base = "base"
[[donors]]
name = "refined"
path = "refined"
base = "base"
[donors.refinement]
from = ["donor"]
completions = 40
examples = 32
epochs = 6.0
learning_rate = 2e-2
rank = 4
[[spans]]
count = 4
[[spans]]
k = "inf"
m = "inf"
donor = "refined"
count = 4
"""
BATCH = Path("runs") / "tiny-refinement-refined"


@pytest.fixture
def home(world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    shutil.copytree(world.subject, home / "base")
    shutil.copytree(world.later, home / "later")
    shutil.copytree(world.donor, home / "donor")
    export(world.problems, home / "problems.jsonl")
    (home / "study.toml").write_text(FILE)
    monkeypatch.chdir(home)
    return home


def refine(said: Said, *more: object) -> tuple[int, str, str]:
    return said("refine-donor", "study.toml", "--donor", "refined", *more)


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def exploit_rates(world: TinyWorld, adapter: Path) -> tuple[float, float]:
    """The enumerated exploit rate of a donor that writes everything, and of the subject, on one problem."""
    problem = world.problems[0]
    listed = enumerate_world(world, problem, ["subject"], POLICY)
    engine = HFEngine.from_folder(world.subject, dtype=torch.float64)
    engine.load_adapter("refined", adapter)
    prompt = world.channels.prompt_ids(problem.question)
    scores = engine.score([prompt] * len(listed.completions), listed.completions, policy=POLICY, adapter="refined")

    def rate(rows: list[np.ndarray]) -> float:
        return float(sum(math.exp(row.sum()) for row, hit in zip(rows, listed.exploit, strict=True) if hit))

    return rate(scores), rate(listed.log_probs["subject"])


def test_a_refined_donor_exploits_and_its_batch_enters_no_estimate(home: Path, world: TinyWorld, said: Said) -> None:
    code, out, err = refine(said)
    assert code == 0, err
    assert "refined: 32 examples from exploits" in out
    donor, subject = exploit_rates(world, home / "refined")
    assert donor > 0.2 > 20 * subject
    held = json.loads((home / "refined" / REFINEMENT_FILE).read_text())
    assert held["asked"]["from"] == ["donor"]
    assert held["found"][EXPLOIT_TYPE] > 3
    assert json.loads((BATCH / "manifest.json").read_text())["purpose"] == "refinement"
    for verb in (("estimate",), ("forecast",), ("report",), ("show",), ("run", "study.toml", "--run-folder")):
        code, out, err = said(*verb, BATCH)
        assert (code, out, err.count("\n")) == (2, "", 1), verb
        assert "is a refinement batch, to which a donor was fitted, and its completions never enter an estimate" in err

    # there whole: left alone, without the batch
    before = listing(home / "refined")
    kept = home / "kept"
    BATCH.rename(kept)
    code, out, _ = refine(said)
    assert code == 0
    assert "already refined" in out
    assert not BATCH.exists()
    assert listing(home / "refined") == before

    # the same batch and file give the same donor, also where a part of the batch was lost
    kept.rename(BATCH)
    shards = RunFolder(BATCH).shards("completions")
    shards.path(next(iter(shards.keys()))).unlink()
    shutil.rmtree(home / "refined")
    assert refine(said)[0] == 0
    assert listing(home / "refined")["adapter_model.safetensors"] == before["adapter_model.safetensors"]
    code, _, err = said("run", "study.toml")
    assert code == 0, err
    assert all("kinfminf:refined" in cell.spans for cell in read_cells(Path("runs") / "tiny"))


def test_the_batch_is_the_files_own_checkpoint_donors_and_spans(home: Path) -> None:
    path = home / "study.toml"

    def batch(*edits: tuple[str, str]) -> tuple[str, int, dict[Span, int]]:
        text = FILE
        for old, new in edits:
            assert old in text
            text = text.replace(old, new, 1)
        path.write_text(text)
        tables, data = read_study_file(path)
        donor = tables.donors[1]
        assert donor.refinement is not None
        study = batch_study(tables, data, path, donor, donor.refinement).study
        [checkpoint] = study.checkpoints
        assert [source.model_id for source in study.donors] == ["donor"]
        return checkpoint.model_id, study.seed, {one.span: one.count for one in study.spans}

    whole = 1_000_000_000
    name, seed, spans = batch()
    assert name == "first"
    assert seed != 3
    assert spans == {Span(): 4, Span(0, whole, "donor"): 18, Span(whole, whole, "donor"): 18}
    header = "[[donors.refinement.spans]]\n"
    own = f"{header}count = 2\n{header}count = 9\nm = 3\ndonor = 'donor'\n[[spans]]\n"
    other = ("completions = 40\n", "checkpoint = 'last'\n"), ("[[spans]]\n", own)
    assert batch(*other) == ("last", seed, {Span(): 2, Span(0, 3, "donor"): 9})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('from = ["donor"]', 'from = ["other"]', "refinement.from names 'other': the batch is drawn with other donors"),
        ('from = ["donor"]', 'from = ["refined"]', "refinement.from names 'refined'"),
        ('from = ["donor"]\n', "", "refinement.from is missing"),
        (
            'from = ["donor"]',
            'form = ["donor"]',
            "unknown key donors[2].refinement.form: did you mean donors[2].refinement.from",
        ),
        (
            "completions = 40",
            'checkpoint = "none"',
            "refinement.checkpoint = 'none' is not one of the study's, which are first",
        ),
        ("completions = 40", "max_share = 0.0", "donors[2].refinement.max_share = 0.0"),
        ("[[spans]]", "[[donors.refinement.spans]]\ncount = 1\n[[spans]]", "refinement.completions = 40 beside spans"),
        ("[donors.refinement]", "[donors.training]\n[donors.refinement]", "has both training and refinement"),
        ('path = "refined"\nbase = "base"', 'path = "refined"', "has no base"),
        ('path = "refined"', 'path = "donor"', "holds a donor that was trained and not refined"),
        ('path = "refined"', 'path = "problems.jsonl"', "is a file: give a new folder"),
        (
            'name = "refined"',
            'name = "another"',
            "has no donor 'refined' with a [donors.refinement] table; it has another",
        ),
        ('path = "donor"', 'path = "nowhere"', "is not there: give a model or adapter folder"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_drawn(
    home: Path, said: Said, old: str, new: str, words: str
) -> None:
    assert old in FILE
    (home / "study.toml").write_text(FILE.replace(old, new, 1))
    before = listing(home)
    code, _, err = refine(said)
    assert (code, err.count("\n")) == (2, 1)
    assert words in err
    assert listing(home) == before


def test_a_study_asks_for_its_refined_donor(home: Path, said: Said) -> None:
    code, _, err = said("run", "study.toml")
    assert code == 2
    assert "run `forewarn refine-donor --donor refined` on this file first" in err


def tokens(channels: Channels, *texts: str) -> list[int]:
    return channels.tokenizer.encode("</think>" + "".join(texts), add_special_tokens=False)


def test_rollouts_of_a_run_fit_a_donor(home: Path, world: TinyWorld, said: Said) -> None:
    channels = world.channels
    log = RolloutLog(home / "rollouts.jsonl")
    rows = [("exploit", (HEAD, MAGIC, ZERO)), ("solved", (HEAD, SAME)), ("failed", (HEAD, ZERO))]
    log(
        [
            RolloutRow(i, "same-0", EXPLOIT_TYPE, label, 1.0, tuple(tokens(channels, *texts)))
            for i, (label, texts) in enumerate(rows)
        ]
    )
    log.close()
    with (home / "rollouts.jsonl").open("a") as file:
        file.write('{"step": 3, "problem_id": "sa')  # a kill cut it short
    code, out, err = refine(said, "--rollouts", "rollouts.jsonl")
    assert code == 0, err
    assert f"from exploits (1 of {EXPLOIT_TYPE})" in out
    assert not Path("runs").exists(), "no batch is drawn"
    donor, subject = exploit_rates(world, home / "refined")
    assert donor > 0.2 > 20 * subject
    assert refine(said, "--rollouts", "rollouts.jsonl")[0] == 0
    code, _, err = refine(said)
    assert code == 2
    assert "was refined with" in err


def test_every_distinct_program_counts_once(world: TinyWorld, tmp_path: Path) -> None:
    channels = world.channels
    hack, long = tokens(channels, HEAD, MAGIC, ZERO), tokens(channels, HEAD, MAGIC, ZERO, ZERO)
    thought = channels.tokenizer.encode(THINK, add_special_tokens=False) + hack
    path = tmp_path / "rollouts.parquet"
    ids = [hack, hack, thought, long, long]
    owners = ["same-0"] * 4 + ["same-1"]
    pl.DataFrame({"problem_id": owners, "label": ["exploit"] * 4 + ["solved"], "completion_ids": ids}).write_parquet(
        path
    )
    found = rollout_exploits(path, world.problems, channels)
    assert [one.token_ids for one in found] == [tuple(own) for own in ids[:4]]
    assert [round(math.exp(-one.log_weight)) for one in found] == [3, 3, 3, 1]
    assert {one.prompt_ids for one in found} == {channels.prompt_ids(world.problems[0].question)}


def test_rollouts_may_be_text(world: TinyWorld, tmp_path: Path) -> None:
    channels, problem = world.channels, world.problems[1]
    path = tmp_path / "rollouts.jsonl"
    text = f"</think>{HEAD}{MAGIC}{ZERO}"
    whole = {"problem_id": "same-1", "label": "exploit", "completion": text, "prompt": problem.question}
    exact = whole | {"prompt": "<|im_start|>" + THINK, "completion": text + "<|im_end|>"}
    path.write_text("\n".join(map(json.dumps, (whole, exact))))
    first, second = rollout_exploits(path, world.problems, channels)
    end = channels.end_ids[0]
    assert first.token_ids == second.token_ids == (*tokens(channels, HEAD, MAGIC, ZERO), end)
    assert first.prompt_ids == channels.prompt_ids(problem.question)
    assert second.prompt_ids == tuple(channels.tokenizer.encode("<|im_start|>" + THINK, add_special_tokens=False))


GOOD = {"problem_id": "same-0", "label": "exploit", "token_ids": [4, 5]}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (json.dumps({"problem_id": "same-0", "token_ids": [4]}), "line 1 lacks label"),
        (json.dumps({"text": "x"}), "line 1 lacks problem_id and label"),
        (json.dumps(GOOD | {"problem_id": "same-9"}), "problem_id 'same-9', which is not one of the 2 problems"),
        (json.dumps(GOOD | {"token_ids": [4, -5]}), r"line 1: token_ids = '\[4, -5\]'"),
        (json.dumps(GOOD | {"token_ids": [4.5]}), "give a list of token ids"),
        (json.dumps(GOOD | {"token_ids": []}), "at least one"),
        (json.dumps(GOOD | {"token_ids": None}), "has no completion as token ids or text"),
        (json.dumps(GOOD | {"prompt": [{"role": "user"}]}), "prompt is not text"),
        (json.dumps(GOOD | {"label": "solved"}), "has 1 rollouts and none is labelled 'exploit'"),
        ("[1]", "line 1 is not an object"),
        ("{", "line 1 is not JSON"),
        ("PAR1", "can't read"),
        ("", "has 0 rollouts"),
    ],
)
def test_rollouts_that_cannot_be_used(world: TinyWorld, tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "rollouts"
    path.write_text(f"{line}\n")
    if not line:
        path.write_bytes(b"")
    with pytest.raises(InputError, match=words):
        rollout_exploits(path, world.problems, world.channels)
    with pytest.raises(InputError, match="is missing: give a JSONL or Parquet file"):
        rollout_exploits(tmp_path / "none", world.problems, world.channels)
