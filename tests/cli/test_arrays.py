"""Arrays from files: every kind of file and of array is read right, or named in one sentence."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import save_file

from forewarn.cli.app import main
from forewarn.cli.arrays import load_arrays
from forewarn.errors import InputError
from forewarn.estimation import mixture_estimate
from forewarn.records import Estimate

N, S = 90, 3
SHARES = (0.5, 0.3, 0.2)


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    span_N = np.repeat(np.arange(S), N // S)
    log_ratio_NS = np.where(np.arange(S) == 0, 0.0, rng.normal(size=(N, S)))
    return {
        "log_ratio_NS": log_ratio_NS,
        "is_exploit_N": rng.random(N) < 0.3,
        "span_N": span_N,
        "share_S": np.array(SHARES),
        "problem_N": np.array([f"0{i % 2}" for i in range(N)]),
        "cluster_N": np.arange(N) // 3,
        "valid_N": np.ones(N, dtype=bool),
    }


def table() -> pl.DataFrame:
    held = arrays()
    columns = {f"log_ratio_{s}": held["log_ratio_NS"][:, s] for s in range(S)}
    columns |= {name: held[f"{name}_N"] for name in ("is_exploit", "span", "problem", "cluster", "valid")}
    return pl.DataFrame(columns | {"share": np.array(SHARES)[held["span_N"]]})


def same(path: Path) -> bool:
    def estimate(values: dict[str, Any]) -> Estimate:
        return mixture_estimate(**values, level=0.9, design="stratified")

    return estimate(load_arrays(path)) == estimate(arrays())


def refusal(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says of a file that it must refuse, in one line."""
    with pytest.raises(SystemExit) as stop:
        main(["estimate", "--arrays", str(path)])
    out, err = capsys.readouterr()
    assert (stop.value.code, out, err.count("\n")) == (2, "", 1)
    return err


def test_tables_hold_what_arrays_hold(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays())
    table().write_parquet(tmp_path / "a.parquet")
    table().write_csv(tmp_path / "a.csv")
    table().write_csv(tmp_path / "a.tsv", separator="\t")
    (tmp_path / "marked.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.csv").read_bytes().replace(b"\n", b"\r\n"))
    held = table().with_columns(pl.col("problem").cast(pl.Categorical), pl.col("is_exploit", "valid").cast(pl.Int8))
    held.rename({"is_exploit": "is_exploit_N", "span": "span_N"}).write_parquet(tmp_path / "kinds.parquet")
    for path in tmp_path.iterdir():
        assert same(path), path.name


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_tables_say_which_program_a_hit_is_and_who_wrote_it(suffix: str, tmp_path: Path) -> None:
    """Of hits alone: the other rows may be empty."""
    held = arrays()
    hit = held["is_exploit_N"]
    program = np.where(hit, [f"p{i % 4}" for i in range(N)], None)
    whole = np.where(hit, held["span_N"] == 1, None)
    opened = np.where(hit, held["span_N"] == 2, None)
    told = table().with_columns(
        program=pl.Series(program.tolist(), dtype=pl.String),
        donor_wrote_answer=pl.Series(whole.tolist(), dtype=pl.Boolean),
        donor_opened=pl.Series(opened.tolist(), dtype=pl.Boolean),
        inconsistent=pl.Series(np.arange(N) == int(np.flatnonzero(~hit)[0])),
    )
    path = tmp_path / f"told.{suffix}"
    told.write_csv(path) if suffix == "csv" else told.write_parquet(path)
    found = mixture_estimate(**load_arrays(path))
    extra = {"program_N": program, "donor_wrote_answer_N": whole == True, "donor_opened_N": opened == True}  # noqa: E712 - None is no True
    wanted = mixture_estimate(**held, **extra, inconsistent_N=told["inconsistent"].to_numpy())
    assert found == wanted
    assert found.n_inconsistent == 1
    assert found.effective_programs is not None
    assert 1 < found.effective_programs < 4.001
    assert found.donor_written is not None
    assert 0 < found.donor_written < 1
    assert found.donor_opened is not None
    assert 0 < found.donor_opened < 1
    missing = told.with_columns(program=pl.lit(None, dtype=pl.String))
    missing.write_parquet(tmp_path / "missing.parquet")
    row = int(np.flatnonzero(hit)[0]) + 1
    with pytest.raises(InputError, match=f"column program of .* is empty in row {row},"):
        load_arrays(tmp_path / "missing.parquet")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_cell_may_be_empty_where_nothing_is_read(suffix: str, tmp_path: Path) -> None:
    unread = table().with_columns(
        pl.when("is_exploit").then(f"log_ratio_{s}").alias(f"log_ratio_{s}") for s in range(S)
    )
    path = tmp_path / f"a{suffix}"
    unread.write_csv(path) if suffix == ".csv" else unread.write_parquet(path)
    assert same(path)
    invalid = unread.with_columns(valid=pl.int_range(N) > 0, is_exploit=pl.when(pl.int_range(N) > 0).then("is_exploit"))
    invalid.write_csv(path) if suffix == ".csv" else invalid.write_parquet(path)
    assert not load_arrays(path)["valid_N"][0]
    assert not load_arrays(path)["is_exploit_N"][0]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.longdouble, ">f8"])
def test_shares_of_any_precision_are_those_that_were_meant(kind: Any, tmp_path: Path) -> None:
    shares = np.array([1 / 3, 1 / 3, 1 / 3]).astype(kind)
    np.savez(tmp_path / "a.npz", **{**arrays(), "share_S": shares})
    found = mixture_estimate(**load_arrays(tmp_path / "a.npz"))
    exact = mixture_estimate(**{**arrays(), "share_S": np.full(3, 1 / 3)})  # type: ignore[arg-type]
    assert found.log10_p == pytest.approx(exact.log10_p, rel=1e-3 if kind is np.float16 else 1e-6)


def test_shares_that_do_not_sum_to_one_are_still_refused(tmp_path: Path) -> None:
    for shares in (np.array([0.5, 0.3, 0.1999], dtype=np.float32), np.array([0.5, 0.3, 0.20001])):
        with pytest.raises(InputError, match="share_S sums to"):
            mixture_estimate(**{**arrays(), "share_S": shares})  # type: ignore[arg-type]


RAW = np.zeros(N, dtype="V2")
KINDS: list[tuple[str, np.ndarray, str]] = [
    ("log_ratio_NS", np.full((N, S), "0.5"), "contains text"),
    ("log_ratio_NS", np.full((N, S), b"0.5"), "contains bytes of text"),
    ("log_ratio_NS", np.zeros((N, S), dtype="V2"), "raw bytes (2 each, which is how NumPy saves bfloat16)"),
    ("log_ratio_NS", np.zeros((N, S), dtype=[("a", "f8")]), "records (of fields a)"),
    ("log_ratio_NS", np.zeros((N, S), dtype=object), "Python objects"),
    ("log_ratio_NS", np.zeros((N, S), dtype=complex), "complex numbers"),
    ("log_ratio_NS", np.zeros((N, S), dtype="M8[s]"), "contains dates"),
    ("log_ratio_NS", np.zeros((N, S), dtype="m8[s]"), "spans of time"),
    ("log_ratio_NS", np.zeros((N, S), dtype=bool), "holds booleans"),
    ("is_exploit_N", np.full(N, "exploit"), "contains text"),
    ("is_exploit_N", RAW, "raw bytes"),
    ("is_exploit_N", np.full(N, None), "Python objects"),
    ("is_exploit_N", np.full(N, np.nan), "contains nan"),
    ("is_exploit_N", np.zeros(N, dtype=complex), "complex numbers"),
    ("valid_N", np.full(N, 2), "contains 2"),
    ("valid_N", np.full(N, "yes"), "contains text"),
    ("span_N", np.full(N, "0"), "contains text"),
    ("span_N", np.zeros(N), "floating-point numbers: give whole numbers"),
    ("span_N", np.zeros(N, dtype="M8[D]"), "contains dates"),
    ("share_S", np.array(["a", "b", "c"]), "contains text"),
    ("share_S", np.zeros(S, dtype="V2"), "raw bytes"),
    ("problem_N", RAW, "raw bytes"),
    ("problem_N", np.full(N, None), "Python objects"),
    ("cluster_N", np.full(N, 1j), "complex numbers"),
    ("cluster_N", np.where(np.arange(N) % 2, "a", ""), "empty text"),
]


@pytest.mark.parametrize(("name", "value", "said"), KINDS, ids=[f"{name}: {said}" for name, _, said in KINDS])
def test_an_array_that_can_not_be_meant_is_named(
    name: str, value: np.ndarray, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "a.npz", **{**arrays(), name: value})
    sentence = refusal(tmp_path / "a.npz", capsys)
    assert name in sentence
    assert said in sentence


@pytest.mark.parametrize("dtype", ["U3", "S3", "V2", object, complex, "M8[s]", bool])
def test_the_library_refuses_the_same_kinds(dtype: Any) -> None:
    with pytest.raises(InputError, match="log_ratio_NS holds"):
        mixture_estimate(np.zeros((N, S)).astype(dtype) if dtype != "V2" else np.zeros((N, S), "V2"), [], [])
    with pytest.raises(InputError, match="rows of one length"):
        mixture_estimate([[0.0], [0.0, 1.0]], [True, False], [0, 0])


def test_ids_of_a_table_are_text_and_other_objects_are_none() -> None:
    held = arrays()
    as_objects = {**held, "problem_N": held["problem_N"].astype(object)}
    assert mixture_estimate(**as_objects) == mixture_estimate(**held)  # type: ignore[arg-type]
    as_objects["problem_N"][3] = None
    with pytest.raises(InputError, match="problem_N holds Python objects"):
        mixture_estimate(**as_objects)  # type: ignore[arg-type]


def cut(path: Path) -> None:
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes()[:-200])


def corrupt(path: Path) -> None:
    np.savez(path, **arrays())
    data = bytearray(path.read_bytes())
    data[400:420] = b"\0" * 20
    path.write_bytes(bytes(data))


def in_torch(path: Path) -> None:
    torch.save({"span_N": torch.zeros(3)}, path)


FILES: list[tuple[str, Callable[[Path], object], str]] = [
    ("gone.npz", lambda path: None, "is missing"),
    ("folder.npz", lambda path: path.mkdir(), "is not a regular file"),
    ("empty.npz", lambda path: path.touch(), "is empty"),
    ("text.npz", lambda path: path.write_text("hello"), "is of an unsupported kind"),
    ("cut.npz", cut, "damaged .npz file"),
    ("short.npz", lambda path: path.write_bytes(b"PK\x03\x04 cut"), "damaged .npz file"),
    ("corrupt.npz", corrupt, "log_ratio_NS of"),
    ("a.npy", lambda path: np.save(path, np.zeros(3)), "is an .npy file"),
    ("renamed.npz", lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"), "is an .npy file"),
    ("positional.npz", lambda path: np.savez(path, np.zeros(3)), "has unknown arr_0"),
    ("a.npz", lambda path: path.write_bytes(pickle.dumps(arrays())), "is a pickle"),
    ("a.pkl", lambda path: path.write_bytes(pickle.dumps([1], protocol=0)), "is a pickle"),
    ("a.pt", in_torch, "is a PyTorch file"),
    ("a.safetensors", lambda path: save_file({"span_N": np.zeros(3)}, path), "is a safetensors file"),
    ("a.json", lambda path: path.write_text(json.dumps({"span_N": [0]})), "is JSON"),
    ("a.gz", lambda path: path.write_bytes(b"\x1f\x8b\x08\x00"), "gzip"),
    ("a.parquet", lambda path: path.write_bytes(b"PAR1 cut"), "damaged Parquet file"),
    ("bare.parquet", lambda path: table().select("span").write_parquet(path), "lacks the columns log_ratio_0, is_"),
    ("more.parquet", lambda path: table().with_columns(x=1).write_parquet(path), "unknown columns x"),
    ("hole.parquet", lambda path: table().drop("log_ratio_1").write_parquet(path), "number the spans"),
    ("twice.parquet", lambda path: table().with_columns(span_N="span").write_parquet(path), "the same array"),
    ("lists.parquet", lambda path: table().with_columns(span=pl.lit([1])).write_parquet(path), "column span of"),
    ("dates.parquet", lambda path: table().with_columns(log_ratio_1=pl.date(2026, 1, 1)).write_parquet(path), "date"),
    ("float.parquet", lambda path: table().cast({"span": pl.Float64}).write_parquet(path), "whole numbers"),
    ("share.parquet", lambda path: table().with_columns(share=pl.int_range(N)).write_parquet(path), "for span 0"),
    ("null.parquet", lambda path: table().with_columns(span=None).write_parquet(path), "span of"),
    ("none.csv", lambda path: path.write_bytes(b"\xff\xfe,"), "not UTF-8 text"),
    ("ragged.csv", lambda path: path.write_text("span,is_exploit\n1,2,3\n"), "not a CSV table"),
    ("word.csv", lambda path: table().with_columns(log_ratio_1=pl.lit("low")).write_csv(path), "'low' in row 1"),
    ("maybe.csv", lambda path: table().with_columns(is_exploit=pl.lit("maybe")).write_csv(path), "'maybe' in row 1"),
    ("gap.csv", lambda path: table().with_columns(is_exploit=None).write_csv(path), "is empty in row 1"),
]


@pytest.mark.parametrize(("name", "write", "said"), FILES, ids=[name for name, _, _ in FILES])
def test_a_file_that_can_not_be_meant_is_named(
    name: str, write: Callable[[Path], object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / name)
    sentence = refusal(tmp_path / name, capsys)
    assert name in sentence
    assert said in sentence


def test_a_file_of_arrays_without_the_option_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", **arrays())
    with pytest.raises(SystemExit) as stop:
        main(["estimate", str(tmp_path / "a.npz")])
    err = capsys.readouterr().err
    assert stop.value.code == 2
    assert f"--arrays {tmp_path / 'a.npz'}" in err
    assert "delete" not in err
    assert (tmp_path / "a.npz").exists()
