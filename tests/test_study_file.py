"""A study from its TOML file: the documented example on a tiny model, every key, every kind of bad input."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
import types
import typing
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from forewarn.cli.app import main
from forewarn.errors import InputError, ModelError
from forewarn.formats import ChannelFormat
from forewarn.problems.files import export
from forewarn.records import UNBOUNDED, Span
from forewarn.study import read_estimates, run_study
from forewarn.study.config.file import read_study_file
from forewarn.study.config.kinds import Table
from forewarn.study.config.load import load_study
from forewarn.study.config.schema import StudyTable
from tests.engines.tiny import tiny_tokenizer
from tests.tiny_world import TinyWorld

PAGE = (Path(__file__).parents[1] / "docs" / "study.md").read_text()
EXAMPLE, CUSTOM = re.findall(r"^```toml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def home(world: TinyWorld, tmp_path: Path) -> Path:
    """A folder in which the documented example can be run: four tokens a completion, float64."""
    home = tmp_path / "home"
    shutil.copytree(world.subject, home / "models" / "base")
    for step, source in ((9, world.later), (1, world.subject)):
        folder = home / "runs" / "train" / f"checkpoint-{step}"
        shutil.copytree(source, folder)
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    export(world.problems, home / "problems.parquet")
    text = EXAMPLE.replace("max_total_tokens = 2048", "max_total_tokens = 4")
    text = text.replace("epochs = 3\nlearning_rate = 2e-4", "epochs = 25\nlearning_rate = 2e-2\nbatch_size = 2")
    text = text.replace('device = "cpu"', 'device = "cpu"\ndtype = "float64"').replace("k = 20", "k = 2")
    (home / "study.toml").write_text(text)
    return home


def forewarn(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_documented_example_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert forewarn("run", "study.toml") == 2
    assert "path = 'donors/exploits' is not there: run `forewarn train-donor`" in capsys.readouterr().err
    assert forewarn("train-donor", "study.toml") == 0
    assert "donor: 2 exploits" in capsys.readouterr().out
    assert forewarn("train-donor", "study.toml", "--donor", "donor") == 0
    assert "already trained" in capsys.readouterr().out
    assert forewarn("run", "study.toml") == 0
    shown = capsys.readouterr()
    assert "no chat template to compare the format 'plain-think' with" in shown.err
    assert [line.split()[0] for line in shown.out.splitlines()[1:3]] == ["checkpoint-1", "checkpoint-9"]
    root = home / "runs" / "my-run"
    assert "Forecasts" in shown.out
    assert (root / "report" / "report.html").is_file()
    assert (root / "study.toml").read_text() == (home / "study.toml").read_text()
    estimates = read_estimates(root)
    assert estimates["step"].to_list() == [1, 9]
    assert estimates["n_hits"].min() > 0  # type: ignore[operator]
    manifest = json.loads((root / "manifest.json").read_text())
    receipts = {name: held["key"] for name, held in manifest["model_receipts"].items()}
    assert estimates["model_receipt"].to_list() == [receipts["checkpoint-1"], receipts["checkpoint-9"]]
    assert manifest["format"]["chat_template"] == "none"

    # once more, from another folder, with two processes: nothing is done again
    def work() -> dict[Path, int]:
        found = root.glob("*/*.parquet")
        return {path: path.stat().st_mtime_ns for path in found if path.parent.name != "report"}

    shards = work()
    monkeypatch.chdir(home.parent)
    assert forewarn("run", home / "study.toml", "--run-folder", root, "--workers", 2, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["checkpoint_id"] for row in rows] == ["checkpoint-1", "checkpoint-9"]
    assert work() == shards
    # a checkpoint that was written to since is refused, and what is there stays
    weights = home / "runs" / "train" / "checkpoint-9"
    shutil.copy(home / "models" / "base" / "model.safetensors", weights / "model.safetensors")
    assert forewarn("run", home / "study.toml", "--run-folder", root) == 2
    assert "checkpoint checkpoint-9 has changed since" in capsys.readouterr().err
    assert_frame_equal(read_estimates(root), estimates)
    # as a run leaves it that stops because the files changed under it: nothing of that checkpoint was kept
    for cell in manifest["cells"]:
        if cell["checkpoint_id"] == "checkpoint-9":
            for key in cell["blocks"]:
                (root / "completions" / f"{key}.parquet").unlink()
    assert forewarn("run", home / "study.toml", "--run-folder", root) == 0
    now = read_estimates(root)
    assert_frame_equal(now[:1], estimates[:1])
    assert now["model_receipt"][1] != receipts["checkpoint-9"]


def changed(home: Path, *edits: tuple[str, str]) -> Path:
    text = (home / "study.toml").read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    path = home / "changed.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 0", "sed = 0", r"changed.toml: unknown key sed: did you mean seed\?"),
        (
            "max_total_tokens = 4",
            "max_tokens = 4",
            r"unknown key policy.max_tokens: did you mean .*total.* \(and 1",
        ),
        ("count = 16", "cuont = 16", r"unknown key spans\[1\].cuont: did you mean spans\[1\].count\?"),
        ("seed = 0", "seed = 0\ntop_p = 0.9", r"unknown key top_p: did you mean it in \[policy\]\?"),
        ("[policy]", "[policy]\ncount = 3", r"unknown key policy.count: did you mean it in \[\[spans\]\]\?"),
        ("[policy]", "[policy]\nlevel = 0.9", r"policy.level: did you mean it in the file's first lines"),
        ("seed = 0", "seed = 0\nqqqq = 1", r"unknown key qqqq; the keys are in docs/study.md"),
        ("temperature = 1.0", "temperature = 0", r"policy.temperature = 0: input should be greater than 0"),
        ("temperature = 1.0", 'temperature = "1"', r"policy.temperature = '1': input should be a valid number"),
        ("max_total_tokens = 4", "", r"policy.max_total_tokens is missing"),
        ("count = 16", "count = 0", r"spans\[1\].count = 0: input should be greater than 0"),
        ("temperature = 1.0", "temperature = inf", r"policy.temperature = inf: input should be a finite number"),
        ("temperature = 1.0", "temperature = 1e-45", r"policy.temperature = .*: that is greedy decoding.* give 0.001"),
        ('name = "my-run"', 'name = ".."', r"name = '..': it names the run folder too: give a plain name"),
        ('name = "my-run"', 'name = "a/b"', r"name = 'a/b': string should match"),
        (
            "count = 16",
            "count = 16\nscale = 0.5",
            r"spans\[1\].scale = 0.5: .* the subject's own, with no donor to scale",
        ),
        ("m = 8", 'm = 8\ntypes = ["process_exit"]', r"spans\[2\].types names process_exit, of which .* no problem"),
        ("count = 16", "count = 16\nk = 3\nscale = 2.0", r"spans\[1\].scale = 2.0"),
        ('m = "inf"', 'm = "all"', r"spans\[3\].m = 'all'"),
        ("count = 16", 'count = 16\ntypes = ["nonsense"]', r"spans\[1\].types names 'nonsense'"),
        ("count = 16", "count = 16\nm = 1", "has no span \\(0, 0\\)"),
        ("count = 16", 'count = 16\ndonor = "donor"', r"spans\[1\]: span \(k=0, m=0\) names donor 'donor'"),
        ('name = "plain-think"', 'name = "alpaca"', "unknown chat format 'alpaca'"),
        ('name = "plain-think"', 'name = "harmony"', "no token <\\|start\\|>, so the model has no reasoning channel"),
        ('name = "plain-think"', 'name = "auto"', "has no chat template, so its format can't be found"),
        ('name = "plain-think"', 'name = "custom"', r"needs a \[format.custom\]"),
        ("[engine]", '[answer]\nblock = "best"\n[engine]', "answer.block = 'best': input should be 'last' or 'first'"),
        ("[engine]", '[answer]\nstop = [""]\n[engine]', "answer: stop = .* empty text"),
        ("[engine]", '[answer]\nstop = ["</think>"]\n[engine]', "stop string '</think>' .* no answer would ever open"),
        ('kind = "transformers"', 'kind = "tgi"', "engine: engine is 'tgi'"),
        ('device = "cpu"', 'device = "banana"', "engine: device is 'banana': give cpu, cuda, or cuda:N"),
        (
            'device = "cpu"',
            'device = "cuda:99"',
            "engine: device is 'cuda:99', but torch .* here: give one that is there",
        ),
        ('device = "cpu"', 'device = "meta"', "engine: device is 'meta', which torch can't use here"),
        ('file = "problems.parquet"', 'file = "gone.parquet"', r"problems: .*gone.parquet is missing"),
        (
            'file = "problems.parquet"',
            'file = "problems.parquet"\ntypes = ["process_exit"]',
            "types names 'process_exit'",
        ),
        ('path = "runs/train"', 'path = "runs/none"', r"checkpoints\[1\]: .*runs/none is not a folder"),
        ('path = "runs/train"', 'path = "runs/train"\nsteps = [2]', r"steps names step 2, .* it has 1, 9"),
        ('path = "runs/train"', 'path = "models/base"', r"checkpoints\[1\]: the step of base can't be told"),
        ("max_total_tokens = 4", "max_total_tokens = 64", "the context of .* is 64 tokens: lower max_total_tokens to"),
        ('name = "donor"', 'name = "subject"', r"donors\[1\]: name = 'subject'"),
    ],
)
def test_bad_input_is_one_sentence_that_names_the_key(
    world: TinyWorld, home: Path, old: str, new: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(world.donor, home / "donors" / "exploits")
    path = changed(home, (old, new))
    assert forewarn("run", path, "--run-folder", home / "out") == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(message, said), said
    assert said.startswith("forewarn: ")
    assert not (home / "out").exists(), "nothing is written for a study that is refused"


def test_files_that_are_no_study(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        read_study_file(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(InputError, match="is not TOML"):
        read_study_file(tmp_path / "bad.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(InputError, match=r"name is missing: give it \(and 4 more\)"):
        read_study_file(tmp_path / "empty.toml")


def test_filters_keep_what_they_say(world: TinyWorld, home: Path) -> None:
    shutil.copytree(world.donor, home / "donors" / "exploits")
    study = load_study(
        changed(home, ('file = "problems.parquet"', 'file = "problems.parquet"\nids = ["same-1"]'))
    ).study
    assert [problem.problem_id for problem in study.problems] == ["same-1"]
    study = load_study(changed(home, ("[policy]", "limit = 1\n[policy]"))).study
    assert [problem.problem_id for problem in study.problems] == ["same-0"]
    assert [planned.span for planned in study.spans] == [
        Span(), Span(0, 8, "donor"), Span(0, UNBOUNDED, "donor"), Span(2, 8, "donor"),
    ]  # fmt: skip
    assert [planned.count for planned in study.spans] == [16, 8, 8, 8]
    bundled = load_study(
        changed(home, ('file = "problems.parquet"', 'types = ["test_skipping"]\nlimit = 3'), ("= 4\n", "= 4\n"))
    ).study
    assert [problem.exploit_type for problem in bundled.problems] == ["test_skipping"] * 3


def test_a_declared_format_is_used(world: TinyWorld, home: Path) -> None:
    shutil.copytree(world.donor, home / "donors" / "exploits")
    declared = """
[format.custom]
turn = "<|im_start|>{question}"
open_reasoning = "<think>"
closer = "</think>"
no_reasoning = "</think>"
end_of_turn = ["<|im_end|>"]
control = ["<|im_start|>", "<|im_end|>", "<think>", "</think>"]
"""
    study = load_study(changed(home, ('[format]\nname = "plain-think"\n', declared))).study
    assert isinstance(study.channel_format, ChannelFormat)
    assert study.channel_format.turn == "<|im_start|>{question}"
    table = tomllib.loads(CUSTOM)["format"]["custom"]
    assert ChannelFormat(name="custom", **{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
    with pytest.raises(InputError, match=r"format: format 'custom', end_of_turn = .* list '</s>'"):
        load_study(changed(home, ('[format]\nname = "plain-think"\n', declared.replace('["<|im_end|>"]', '["</s>"]'))))


def test_donors_that_do_not_belong_are_refused(world: TinyWorld, home: Path) -> None:
    """Another vocabulary, another base: before anything is sampled."""
    donor = home / "donors" / "exploits"
    shutil.copytree(world.later, donor)
    tiny_tokenizer(["<think>", "</think>", "<|im_start|>", "<|im_end|>"]).save_pretrained(str(donor))
    with pytest.raises(ModelError, match=r"has another tokenizer than .*: subject and donors must share one"):
        forewarn_study(home)
    shutil.rmtree(donor)
    shutil.copytree(world.donor, donor)
    shutil.copytree(world.later, home / "models" / "base", dirs_exist_ok=True)
    with pytest.raises(ModelError, match=r"donors\[1\]: the adapter in .* was trained on another base"):
        forewarn_study(home)


def test_a_checkpoint_that_changes_while_it_is_measured_is_refused(world: TinyWorld, home: Path) -> None:
    shutil.copytree(world.donor, home / "donors" / "exploits")
    loaded = load_study(home / "study.toml")
    n_blocks = len(list(loaded.study.blocks(next(loaded.study.cells()))))
    weights = home / "runs" / "train" / "checkpoint-9" / "model.safetensors"

    def save_again(stage: str, done: int, _total: int) -> None:
        if (stage, done) == ("completions", n_blocks):
            weights.write_bytes(weights.read_bytes())

    with pytest.raises(ModelError, match=r"the files of checkpoint-9 .* changed while it was measured"):
        run_study(loaded.study, home / "out", sandboxing=loaded.sandboxing, progress=save_again)
    assert len(list((home / "out" / "completions").glob("*.parquet"))) == n_blocks, "what was finished stays"
    cells = run_study(loaded.study, home / "out", sandboxing=loaded.sandboxing)
    assert [cell.step for cell in cells] == [1, 9]


def forewarn_study(home: Path) -> pl.DataFrame:
    loaded = load_study(home / "study.toml")
    run_study(loaded.study, home / "out", machine=loaded.machine, sandboxing=loaded.sandboxing)
    return read_estimates(home / "out")


def keys_of(table: type[Table]) -> set[str]:
    """Every key of a table and of the tables inside it."""
    found: set[str] = set()
    for name, field in table.model_fields.items():
        found.add(field.alias or name)
        inner = [field.annotation]
        while inner:
            kind = inner.pop()
            if isinstance(kind, type) and issubclass(kind, Table):
                found |= keys_of(kind)
            elif typing.get_origin(kind) in (tuple, typing.Union, types.UnionType, typing.Annotated):
                inner += typing.get_args(kind)
    return found


def test_every_key_is_described() -> None:
    keys = keys_of(StudyTable)
    assert {"max_total_tokens", "closer", "learning_rate", "scale", "steps"} <= keys
    ways = ("`{}`", "[{}]", "\n{} = ")
    missing = sorted(key for key in keys if not any(way.format(key) in PAGE for way in ways))
    assert not missing, f"docs/study.md does not describe {missing}"


def test_the_readme_has_a_study(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    [text] = re.findall(r"^```toml\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "study.toml").write_text(text)
    tables, _ = read_study_file(tmp_path / "study.toml")
    assert [span.count for span in tables.spans] == [8, 16]
    assert tables.spans[1].random is not None
    assert tables.donors[0].training is not None
