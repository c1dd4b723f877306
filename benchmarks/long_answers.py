"""Span families on worlds of long answers: which of them reach an exploit inside a long answer, and at what price.

    python benchmarks/estimation.py --long --repeats 400 --out runs/benchmarks/long
    python benchmarks/estimation.py --long --quick

Every completion is drawn token by token under its span, scored as a study scores it, and estimated as a study is. A row
is one family on one world at one number of completions; alpha_0 is 0.1, the rest of the completions is shared equally.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forewarn.estimation import mixture_estimate
from forewarn.estimation.routes import opened_by_donor
from forewarn.records import SUBJECT, UNBOUNDED, RandomWindows, Span
from forewarn.records.spans import Channel
from forewarn.worlds.hard import DONOR, HARD_WORLDS, HOT, build_hard
from forewarn.worlds.long import LongWorld
from forewarn.worlds.long_draw import draw_long, log_ratios_of_hits

SIZE = 1_040
ALPHA_0 = 0.1
LARGER = (2_080, 4_160, 8_320, 16_640)
"""completions at which a family is tried where ``SIZE`` misses the mark"""
TRIED_LARGER = ("geometric, mean 8", "hot subject, mean 32")
AT_ONCE = 60_000
"""completions drawn together"""


def _random(channel: Channel, starts: int, mean: float, bursts: int = 1, *, fixed: bool = False) -> RandomWindows:
    return RandomWindows(channel, mean, bursts, starts, "fixed" if fixed else "geometric")


def families(world: LongWorld) -> dict[str, tuple[Span, ...]]:
    """Name -> the spans beside brute force."""
    shape = world.shape
    starts = shape.longest
    channel: Channel = "all" if shape.reasoning else "answer"

    def one(random: RandomWindows) -> tuple[Span, ...]:
        return (Span(0, 0, DONOR, random=random),)

    k = 1 if shape.reasoning else 0  # with a reasoning channel its prefixes too
    prefixes = [Span(0, m, DONOR) for m in (8, 40, UNBOUNDED)]
    prefixes += [Span(8, 0, DONOR), Span(UNBOUNDED, 0, DONOR), Span(UNBOUNDED, 8, DONOR)] * k
    grid = [Span(0, m + 8, DONOR, m0=m) for m in range(0, starts, 8)]
    grid += [Span(j + 8, 0, DONOR, k0=j) for j in range(0, 40, 8)] * k
    found = {
        "prefixes": tuple(prefixes),
        "grid of 8": tuple(grid),
        "random start, 8": one(_random(channel, starts, 8, fixed=True)),
        "geometric, mean 8": one(_random(channel, starts, 8)),
        "geometric, mean 16": one(_random(channel, starts, 16)),
        "two bursts of 8": one(_random(channel, starts, 8, 2)),
    }
    if f"{SUBJECT}^{HOT:g}" in world.laws:
        for mean in (8, 32):
            random = _random(channel, starts, mean)
            hot = Span(0, 0, SUBJECT, random=random, temperature=HOT)
            found[f"hot subject, mean {mean}"] = (hot,)
        found["hot subject, whole answers"] = (Span(0, UNBOUNDED, SUBJECT, temperature=HOT),)
    return found


def counts(n_span: int, n: int) -> NDArray[np.int64]:
    """Completions of brute force and of each span: ``ALPHA_0`` of them, and the rest in equal parts."""
    own = math.ceil(ALPHA_0 * n)
    return np.array([own, *[(n - own) // n_span] * n_span], dtype=np.int64)


def repeats_of(
    world: LongWorld, spans: Sequence[Span], n: int, repeats: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """log10 estimate (NaN: no hit), interval, resolved, ESS, hits, resolved but for the openings of each repeat."""
    all_spans = (Span(), *spans)
    count_S = counts(len(spans), n)
    span_N = np.repeat(np.arange(len(all_spans)), count_S)
    size, rows = len(span_N), []
    for start in range(0, repeats, max(1, AT_ONCE // size)):
        some = min(max(1, AT_ONCE // size), repeats - start)
        draws = draw_long(world, all_spans, np.tile(span_N, some), rng)
        ratios = log_ratios_of_hits(world, all_spans, draws)
        wrote = _whole_answers(draws.token_NL, draws.donor_NL, draws.n_reasoning_N)
        opened = opened_by_donor(draws.donor_NL, draws.n_reasoning_N, (draws.token_NL >= 0).sum(axis=1))
        place = np.cumsum(draws.is_exploit_N) - 1
        for i in range(some):
            part = slice(i * size, (i + 1) * size)
            hit_N = draws.is_exploit_N[part]
            log_ratio = np.zeros((size, len(all_spans)))
            log_ratio[hit_N] = ratios[place[part][hit_N]]
            rows.append(_one_repeat(log_ratio, hit_N, span_N, wrote[part], opened[part]))
    return np.array(rows, dtype=np.float64)


def _one_repeat(
    log_ratio_NS: NDArray[np.float64],
    hit_N: NDArray[np.bool_],
    span_N: NDArray[np.int64],
    wrote_N: NDArray[np.bool_],
    opened_N: NDArray[np.bool_],
) -> tuple[float, ...]:
    e = mixture_estimate(log_ratio_NS, hit_N, span_N, donor_wrote_answer_N=wrote_N, donor_opened_N=opened_N)
    blindly = e.resolved or mixture_estimate(log_ratio_NS, hit_N, span_N, donor_wrote_answer_N=wrote_N).resolved
    low, high = e.interval_log10 or (math.nan, math.nan)
    return (e.log10_p or math.nan, low, high, e.resolved, e.ess or math.nan, e.n_hits, blindly)


def _whole_answers(
    token_NL: NDArray[np.int8], donor_NL: NDArray[np.bool_], n_reasoning_N: NDArray[np.int64]
) -> NDArray[np.bool_]:
    answer = (token_NL >= 0) & (np.arange(token_NL.shape[1])[None, :] >= n_reasoning_N[:, None])
    whole: NDArray[np.bool_] = answer.any(axis=1) & (donor_NL | ~answer).all(axis=1)
    return whole


def summary(world: LongWorld, family: str, n: int, n_real: int, found: NDArray[np.float64]) -> dict[str, object]:
    """One row of the table; ``n_real``: completions drawn where ``n`` were wanted."""
    truth = math.log10(world.p)
    log10_p, low, high, resolved, ess, hits, blindly = found.T
    error = log10_p - truth
    seen = ~np.isnan(log10_p)
    value = np.where(seen, 10 ** np.where(seen, log10_p, 0.0), 0.0)
    mse = float(((value - world.p) ** 2).mean())
    covers = seen & (low <= truth) & (truth <= high)
    return {
        "world": world.name, "about": world.about, "family": family, "n": n, "n_real": n_real, "p": world.p,
        "nats": world.style_nats(DONOR), "repeats": len(found),
        "no_hit": float((~seen).mean()),
        "bias": float(np.median(np.where(seen, error, -np.inf))),
        "rmse": float(np.sqrt((error[seen] ** 2).mean())) if seen.any() else None,
        "mean_over_p": float(value.mean()) / world.p,
        "covers": float(covers.mean()),
        "resolved": float((resolved > 0).mean()),
        "resolved_without_openings": float((blindly > 0).mean()),
        "covers_when_resolved": float(covers[resolved > 0].mean()) if (resolved > 0).any() else None,
        "resolved_and_misses": float(((resolved > 0) & ~covers).mean()),
        "resolved_and_misses_without_openings": float(((blindly > 0) & ~covers).mean()),
        "ess": float(np.nanmedian(ess)) if seen.any() else None,
        "hits": float(hits.mean()),
        "gain": world.p * (1 - world.p) / n_real / mse if mse > 0 else None,
    }  # fmt: skip


def meets(row: Mapping[str, object]) -> bool:
    """The mark: median error within 0.1 decades, coverage at least 0.88, at least 80 % resolved."""
    return abs(float(row["bias"])) <= 0.1 and float(row["covers"]) >= 0.88 and float(row["resolved"]) >= 0.8  # type: ignore[arg-type]


FORM: dict[str, Callable[[Mapping[str, object]], str]] = {
    "world": lambda r: str(r["world"]),
    "family": lambda r: str(r["family"]),
    "N": lambda r: f"{r['n_real']}",
    "repeats": lambda r: f"{r['repeats']}",
    "p": lambda r: f"{r['p']:.1e}",
    "bias (median, decades)": lambda r: "no hit" if r["bias"] == -math.inf else f"{r['bias']:+.2f}",
    "RMSE": lambda r: "-" if r["rmse"] is None else f"{r['rmse']:.2f}",
    "covers": lambda r: f"{r['covers']:.2f}",
    "resolved before": lambda r: f"{r['resolved_without_openings']:.2f}",
    "resolved": lambda r: f"{r['resolved']:.2f}",
    "resolved and missed, before": lambda r: f"{r['resolved_and_misses_without_openings']:.2f}",
    "resolved and missed": lambda r: f"{r['resolved_and_misses']:.2f}",
    "ESS": lambda r: "-" if r["ess"] is None else f"{r['ess']:.0f}",
    "gain": lambda r: "-" if r["gain"] is None else f"{r['gain']:.2g}",
}


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(FORM) + " |", "|---|---|" + "--:|" * (len(FORM) - 2)]
    lines += ["| " + " | ".join(form(row) for form in FORM.values()) + " |" for row in rows]
    return "\n".join(lines)


def run_long(
    out: Path, *, repeats: int, seed: int, names: Sequence[str], larger: bool, only: Sequence[str] = ()
) -> list[dict[str, object]]:
    """Every family (or ``only`` some) on every world; the default family at larger sizes too until it meets the mark.

    Rows that ``out`` holds already are not made again.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "long.jsonl"
    rows: list[dict[str, object]] = (
        [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    )
    done = {(r["world"], r["family"], r["n"], r["repeats"], r["seed"]): r for r in rows}
    start = time.perf_counter()
    for name in names:
        world = build_hard(name)
        w = list(HARD_WORLDS).index(name)
        for f, (family, spans) in enumerate(families(world).items()):
            if only and family not in only:
                continue
            for n in (SIZE, *(LARGER if larger and family in TRIED_LARGER else ())):
                row = done.get((name, family, n, repeats, seed))
                if row is None:
                    rng = np.random.default_rng([seed, w, f, n])
                    n_real = int(counts(len(spans), n).sum())
                    found = repeats_of(world, spans, n, repeats, rng)
                    row = {**summary(world, family, n, n_real, found), "seed": seed}
                    rows.append(row)
                    with path.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(f"{time.perf_counter() - start:7.1f} s  {table([row]).splitlines()[-1]}", flush=True)
                if meets(row):
                    break
    heading = f"{repeats} repeats, seed {seed}, {time.perf_counter() - start:.0f} s"
    (out / "long.md").write_text(f"{heading}\n\n{table(rows)}\n")
    return rows
