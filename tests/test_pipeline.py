"""The whole pipeline (real models, sampler, sandbox, scores, estimator) against enumeration; kills and damage."""

from __future__ import annotations

import dataclasses
import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from forewarn.checkpoints.load import load_model
from forewarn.checkpoints.sources import ModelSource
from forewarn.errors import EngineFault, InputError, ModelError, StoreError
from forewarn.estimation import span_log_ratios
from forewarn.formats import CodeRule
from forewarn.judge.judge import Judge
from forewarn.records import Span
from forewarn.store import RunFolder
from forewarn.study import (
    PlannedSpan,
    Study,
    estimate_run,
    read_cells,
    read_completions,
    read_estimates,
    read_hits,
    read_verdicts,
    run_study,
)
from tests.engines.tiny import tiny_model, tiny_tokenizer
from tests.study_runner import tiny_study
from tests.tiny_world import SPANS, TOKEN, TinyWorld, enumerate_world, is_exploit


@pytest.fixture(scope="module")
def finished(world: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study, run without trouble."""
    root = tmp_path_factory.mktemp("runs") / "undisturbed"
    run_study(tiny_study(world), root)
    return root


def all_tables(root: Path) -> list[pl.DataFrame]:
    return [
        read_estimates(root),
        read_hits(root),
        read_completions(root).sort("completion_id"),
        read_verdicts(root).sort("problem_key", "code_key"),
    ]


def test_the_estimate_converges_to_the_enumerated_probability(world: TinyWorld, tmp_path: Path) -> None:
    count = 1_000
    cells = run_study(tiny_study(world, count=count, seed=11), tmp_path / "run")
    share = 1 / len(SPANS)
    for cell, model in zip(cells, ("subject", "later"), strict=True):
        truths, variances = [], []
        for problem in world.problems:
            listing = enumerate_world(world, problem, [model, "donor"])
            log_p = np.array([row.sum() for row in listing.log_probs[model]])
            ratios = span_log_ratios(
                listing.log_probs[model], {"donor": listing.log_probs["donor"]}, listing.n_reasoning, SPANS
            )
            q_span = np.exp(log_p[:, None] + ratios)
            np.testing.assert_allclose(q_span.sum(axis=0), 1.0, rtol=0, atol=1e-12)
            value = listing.exploit / (np.exp(ratios).sum(axis=1) * share)
            truth = float(np.exp(log_p)[listing.exploit].sum())
            np.testing.assert_allclose(share * (q_span * value[:, None]).sum(), truth, rtol=1e-9)
            second, first = (q_span * value[:, None] ** 2).sum(0), (q_span * value[:, None]).sum(0)
            variances.append(share**2 * (second - first**2).sum() / count)
            truths.append(truth)
        assert cell.estimate.log10_p is not None
        found, truth = 10**cell.estimate.log10_p, float(np.mean(truths))
        deviation = float(np.sqrt(np.sum(variances))) / len(truths)
        assert deviation < 0.2 * truth, "the test must be able to fail"
        assert abs(found - truth) < 4 * deviation
        assert cell.estimate.lower_bound <= truth <= cell.estimate.upper_bound
        assert cell.estimate.n == count * len(SPANS) * len(world.problems)
        assert cell.estimate.n_invalid == cell.estimate.n_off_support == 0


def test_the_real_judge_agrees_with_the_worlds_own_rule(world: TinyWorld, finished: Path) -> None:
    problems = {problem.problem_id: problem for problem in world.problems}
    pairs = read_completions(finished).drop_nulls("code").unique(["problem_id", "code"], maintain_order=True)
    items = [(problems[row["problem_id"]], row["code"]) for row in pairs.iter_rows(named=True)]
    with Judge(workers=2) as judge:
        verdicts = judge.verdicts(items)
    labels = [verdict.label for verdict in verdicts]
    assert {"exploit", "solved", "failed"} <= set(labels)
    for (_, code), label in zip(items, labels, strict=True):
        assert (label == "exploit") == is_exploit(code), code


def test_what_a_run_leaves_can_be_read_back(world: TinyWorld, finished: Path) -> None:
    study = tiny_study(world)
    cells, hits, completions = read_cells(finished), read_hits(finished), read_completions(finished)
    assert [(c.checkpoint_id, c.step) for c in cells] == [("step-1", 1), ("step-9", 9)]
    assert completions.height == sum(cell.estimate.n for cell in cells)
    assert hits.height == sum(cell.estimate.n_hits for cell in cells) > 0
    assert hits["rho"].is_between(0, 1).all()
    weights = hits.with_columns(w=pl.col("log_weight").exp())
    for cell in cells:
        own = weights.filter(pl.col("checkpoint_id") == cell.checkpoint_id)
        assert cell.estimate.log10_p is not None
        # equal counts everywhere: the estimate is the plain mean of w*E
        np.testing.assert_allclose(own["w"].sum() / cell.estimate.n, 10**cell.estimate.log10_p, rtol=1e-9)
        assert cell.spans == tuple(planned.span.name for planned in study.spans)
    verdicts = read_verdicts(finished)
    assert verdicts.height == completions.drop_nulls("code").n_unique(["problem_id", "code"])
    manifest = json.loads((finished / "manifest.json").read_text())
    assert set(manifest["model_receipts"]) == {"step-1", "step-9", "donor:donor"}


def test_a_second_run_does_nothing_and_another_folder_gives_the_same(
    world: TinyWorld, finished: Path, tmp_path: Path
) -> None:
    shards = {path: path.stat().st_mtime_ns for path in finished.glob("*/*.parquet")}
    told: list[tuple[str, int, int]] = []
    run_study(tiny_study(world), finished, progress=lambda *now: told.append(now))
    assert {path: path.stat().st_mtime_ns for path in finished.glob("*/*.parquet")} == shards
    assert ("completions", 10, 10) in told
    assert told[0] == ("completions", 5, 10), "all of the first checkpoint is there before anything is begun"
    run_study(tiny_study(world), tmp_path / "again")
    for left, right in zip(all_tables(finished), all_tables(tmp_path / "again"), strict=True):
        assert_frame_equal(left, right)


def test_another_rule_reads_and_judges_the_same_completions_again(
    world: TinyWorld, finished: Path, tmp_path: Path
) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    drawn = {path: path.stat().st_mtime_ns for path in root.glob("completions/*.parquet")}
    rule = CodeRule(stop=(f"# {TOKEN}",))  # cuts the exploits off where they begin to be some
    study = dataclasses.replace(tiny_study(world), code_rule=rule)
    assert all(cell.estimate.n_hits == 0 for cell in run_study(study, root))
    assert {path: path.stat().st_mtime_ns for path in root.glob("completions/*.parquet")} == drawn
    assert json.loads((root / "manifest.json").read_text())["code"]["stop"] == [f"# {TOKEN}"]
    assert not read_completions(root)["code"].drop_nulls().str.contains(TOKEN, literal=True).any()
    before = read_completions(finished)["code"].drop_nulls().str.contains(TOKEN, literal=True)
    assert before.any(), "the test must be able to fail"
    estimate_run(root)
    assert read_hits(root).is_empty()
    run_study(tiny_study(world), root)  # and back: nothing of the other rule is left in any table
    for left, right in zip(all_tables(finished)[:3], all_tables(root)[:3], strict=True):
        assert_frame_equal(left, right)


def test_completions_of_an_earlier_version_are_read_by_the_rule_of_this_run(
    world: TinyWorld, finished: Path, tmp_path: Path
) -> None:
    """Their shards hold the code as it was read then, and there are no submissions beside them."""
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    shutil.rmtree(root / "submissions")
    for path in root.glob("completions/*.parquet"):
        pl.read_parquet(path).with_columns(code=pl.lit("raise SystemExit"), code_key=pl.lit("x")).write_parquet(path)
    run_study(tiny_study(world), root)
    for left, right in zip(all_tables(finished), all_tables(root), strict=True):
        assert_frame_equal(left, right)


@pytest.mark.parametrize("moments", [[("completions", 4), ("verdicts", 4), ("scores", 1), ("estimates", 2)]])
def test_killed_in_each_stage_and_run_again_gives_the_same_tables(
    world: TinyWorld, finished: Path, tmp_path: Path, moments: list[tuple[str, int]]
) -> None:
    root = tmp_path / "killed"
    for stage, done in moments:
        arguments = [str(world.subject.parent), str(root), stage, str(done)]
        ended = subprocess.run([sys.executable, "-m", "tests.study_runner", *arguments], check=False, timeout=200)
        assert ended.returncode == -signal.SIGKILL, f"the study was not killed at {stage} {done}"
        assert not (root / "estimates.parquet").exists()
    kept = {path: path.stat().st_mtime_ns for path in root.glob("*/*.parquet")}
    assert {path.parent.name for path in kept} == {"completions", "submissions", "verdicts", "scores"}
    run_study(tiny_study(world), root)
    assert {path: path.stat().st_mtime_ns for path in root.glob("*/*.parquet")} == kept
    for left, right in zip(all_tables(finished), all_tables(root), strict=True):
        assert_frame_equal(left, right)


def test_new_checkpoints_join_a_run_and_new_plans_do_not(world: TinyWorld, finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    study = tiny_study(world)
    run_study(dataclasses.replace(study, checkpoints=study.checkpoints[:1]), root)
    run_study(study, root)
    assert_frame_equal(read_estimates(root), read_estimates(finished))
    with pytest.raises(StoreError, match="contains another study \\(it differs in seed\\)"):
        run_study(dataclasses.replace(study, seed=8), root)
    with pytest.raises(StoreError, match="it differs in spans"):
        run_study(tiny_study(world, count=61), root)


def test_folders_that_cannot_be_written(world: TinyWorld, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"can't write .*; give a writable folder"):
        run_study(tiny_study(world), tmp_path / "file" / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("mine")
    with pytest.raises(StoreError, match="not empty and does not contain a study"):
        run_study(tiny_study(world), tmp_path / "other")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(path.stat().st_size for path in finished.glob("completions/*.parquet"))
    assert largest > (finished / "manifest.json").stat().st_size + 100, "the test must be able to fail"
    # as a disk that is full: every file but the largest shards can be written
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 50, before[1]))
    try:
        with pytest.raises(StoreError, match=r"can't write .*completions"):
            run_study(tiny_study(world), tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    kept = list((tmp_path / "full" / "completions").glob("*"))
    assert {path.name for path in kept} < {path.name for path in finished.glob("completions/*")}
    assert all(pl.read_parquet(path).height == 120 for path in kept), "nothing half-written may stay"


def test_models_that_do_not_belong_are_refused(world: TinyWorld, tmp_path: Path) -> None:
    study = tiny_study(world)

    def with_donor(folder: Path, adapter: Path | None = None) -> Study:
        donor = ModelSource("donor", str(folder), None if adapter is None else str(adapter))
        return dataclasses.replace(study, donors=(donor,))

    foreign = tmp_path / "foreign"
    tiny_model().save_pretrained(str(foreign))
    with pytest.raises(ModelError, match="11 tokens in its vocabulary where the study's other models have 10"):
        run_study(with_donor(foreign), tmp_path / "a")
    tiny_tokenizer(["<think>"]).save_pretrained(str(foreign))
    with pytest.raises(ModelError, match="has another tokenizer"):
        run_study(with_donor(foreign), tmp_path / "b")
    with pytest.raises(ModelError, match="no token <\\|start\\|>, so the model has no reasoning channel"):
        run_study(dataclasses.replace(study, channel_format="harmony"), tmp_path / "c")
    cut = tmp_path / "cut"
    shutil.copytree(world.donor, cut)
    weights = (cut / "adapter_model.safetensors").read_bytes()
    (cut / "adapter_model.safetensors").write_bytes(weights[:-10])
    with pytest.raises(ModelError, match="its header asks for"):
        run_study(with_donor(world.subject, cut), tmp_path / "d")
    (cut / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no adapter_model\.safetensors"):
        run_study(with_donor(world.subject, cut), tmp_path / "e")
    with pytest.raises(ModelError, match=r"has no config\.json"):
        run_study(with_donor(tmp_path), tmp_path / "f")
    broken = tmp_path / "broken"
    shutil.copytree(world.later, broken)
    model = load_model(broken)
    model.model.norm.weight.data.fill_(float("nan"))
    model.save_pretrained(str(broken))
    with pytest.raises(EngineFault, match="NaN"):
        run_study(with_donor(broken), tmp_path / "g")


def test_plans_that_contradict_themselves_are_refused(world: TinyWorld) -> None:
    study = tiny_study(world)
    with pytest.raises(InputError, match="a span's k is -1"):
        Span(-1, 0, "donor")
    for changes, message in (
        ({"spans": study.spans[1:]}, "has no span \\(0, 0\\)"),
        ({"spans": (*study.spans, study.spans[1])}, "lists a span twice"),
        ({"spans": (*study.spans, PlannedSpan(Span(1, 0, "x"), 1))}, "names a donor that the study lacks"),
        ({"spans": (*study.spans, PlannedSpan(Span(9, 0, "donor"), 0))}, "has a count of 0"),
        ({"checkpoints": study.checkpoints * 2}, "two checkpoints are named 'step-1'"),
        ({"problems": ()}, "at least one problem"),
        ({"level": 1.0}, "level is 1.0"),
        ({"channel_format": "x"}, "unknown chat format 'x'"),
    ):
        with pytest.raises(InputError, match=message):
            dataclasses.replace(study, **changes)  # type: ignore[arg-type]


def test_a_damaged_shard_is_named(world: TinyWorld, finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    [key, *_] = RunFolder(root).shards("completions").keys()
    RunFolder(root).shards("completions").path(key).write_bytes(b"PAR1 and nothing more")
    with pytest.raises(StoreError, match=f"can't read .*{key}.parquet.*delete it and run the same command again"):
        run_study(tiny_study(world), root)
    RunFolder(root).shards("completions").path(key).unlink()
    run_study(tiny_study(world), root)
    assert_frame_equal(read_estimates(root), read_estimates(finished))


def test_scores_that_contradict_the_sampling_are_faults(world: TinyWorld, finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    completions, scores = RunFolder(root).shards("completions"), RunFolder(root).shards("scores")
    before = {cell.checkpoint_id: cell.estimate for cell in read_cells(root)}
    # one hit that its own writer now calls impossible: neither a hit nor a miss
    key = next(iter(scores.keys()))
    table = scores.read(key)
    victim = table["completion_id"][0]
    impossible = pl.when(pl.col("completion_id") == victim).then(
        pl.col("log_probs").list.eval(pl.element() * 0 - float("inf"))
    )
    scores.write(key, table.with_columns(impossible.otherwise("log_probs").alias("log_probs")))
    run_study(tiny_study(world), root)
    changed = [cell.estimate for cell in read_cells(root) if cell.estimate != before[cell.checkpoint_id]]
    assert len(changed) == 1
    assert changed[0].n_invalid == 1
    assert victim not in read_hits(root)["completion_id"].to_list()
    # an engine that samples from one distribution and scores another
    for key in list(completions.keys()):
        table = completions.read(key)
        completions.write(key, table.with_columns(pl.col("log_probs").list.eval(pl.element() + 0.01)))
    shutil.rmtree(root / "scores")
    with pytest.raises(EngineFault, match="scores another distribution than it samples from"):
        run_study(tiny_study(world), root)
