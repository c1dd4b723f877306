"""Transcripts of hits for the page: reasoning and answer, each stretch coloured by who wrote it, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import polars as pl

from forewarn.records import SUBJECT
from forewarn.report import numbers as write
from forewarn.report.anchors import breakable, transcript_anchor
from forewarn.report.glossary import term
from forewarn.report.run_tables import ID_LENGTH, weight_text
from forewarn.report.shares import CELL, weighted
from forewarn.study import RunResults
from forewarn.study.results.forecasts import run_name
from forewarn.study.results.transcripts import Stretch, Transcript, read_transcripts
from forewarn.text import printable, printable_lines

MOST_TRANSCRIPTS = 60
"""hits whose transcripts a page holds, unless there are more types than that"""
MOST_A_TYPE = 5
MOST_CHARACTERS = 4000
"""of one channel of a transcript; what is longer is cut in the middle"""


@dataclass(frozen=True, slots=True)
class Group:
    """The hits that carry a type's newest estimate with a hit."""

    run: str
    exploit_type: str
    step: int
    found: tuple[Transcript, ...]
    shares: tuple[float, ...]
    """of the cell's estimate: of all hits with the same program, by transcript"""
    same: tuple[int, ...]
    """hits with the same program, by transcript"""
    n_cell: int
    """hits of that cell"""
    n_type: int
    """hits of the type in the run"""


def hit_groups(results: RunResults) -> list[Group]:
    """For each run and type, the hits that carry its newest estimate, those with the largest share first."""
    hits = weighted(results.hits).with_columns(
        run=pl.col("checkpoint_id").map_elements(lambda name: run_name(name, results.study), return_dtype=pl.String)
    )
    if hits.is_empty():
        return []
    newest = hits.filter(pl.col("step") == pl.col("step").max().over("run", "exploit_type"))
    first = newest.select("run", *CELL).unique(subset=["run", "exploit_type"], keep="first", maintain_order=True)
    most = max(1, min(MOST_A_TYPE, MOST_TRANSCRIPTS // first.height))
    total = {(run, name): n for run, name, n in hits.group_by("run", "exploit_type").len().iter_rows()}
    rates = {
        (cell.record.checkpoint_id, cell.record.exploit_type): cell.estimate.estimate.log10_p or 0.0
        for cell in results.cells
        if cell.estimate is not None and cell.estimate.estimate.log10_p is not None
    }
    picked = []
    for run, checkpoint, name in sorted(first.iter_rows(), key=lambda row: -rates.get(row[1:], -math.inf)):
        mine = newest.filter((pl.col("checkpoint_id") == checkpoint) & (pl.col("exploit_type") == name))
        ordered = mine.sort("share", "completion_id", descending=[True, False])
        programs = ordered.group_by("code", maintain_order=True).agg(
            pl.col("completion_id").first(), pl.col("share").sum(), same=pl.len()
        )
        picked.append((run, name, mine, programs.sort("share", descending=True, maintain_order=True).head(most)))
    ids = [name for *_, shown in picked for name in shown["completion_id"]]
    texts = {one.completion_id: one for one in read_transcripts(results, ids)}
    return [
        Group(
            run, name, int(mine["step"][0]), tuple(texts[c] for c in shown["completion_id"]),
            tuple(shown["share"].to_list()), tuple(shown["same"].to_list()), mine.height, total[run, name],
        )
        for run, name, mine, shown in picked
    ]  # fmt: skip


def transcripts_html(groups: Sequence[Group]) -> str:
    """A folded block per completion, by type, and what the colours mean."""
    key = (
        '<p class="note">Written by <span class="subject">the subject</span>, <span class="donor">a donor</span>. Of '
        "hits with the same program, one is shown."
    )
    spelt = all(one.spelt for group in groups for one in group.found)
    ids = "" if spelt else " This run folder keeps no vocabulary, so that token ids are shown; run its study again."
    return f"{key}{ids}</p>" + "".join(map(_group, groups))


def _group(group: Group) -> str:
    run, name = escape(printable(group.run)), escape(printable(group.exploit_type))
    carried = write.percent(sum(group.shares))
    shown = sum(group.same)
    more = group.n_type - shown
    rest = f"; {more:,} more hits of this type are in the run folder" if more else ""
    words = f"{shown:,} of {group.n_cell:,} hits at step {group.step:,}, with {carried} of the estimate{rest}."
    inner = "".join(map(_one, group.found, group.shares, group.same))
    return (
        f'<section class="hits" id="{transcript_anchor(group.run, group.exploit_type)}" data-run="{run}" '
        f'data-type="{name}"><h3>{name} <small>run {run}</small></h3><p class="note">{escape(words)}</p>{inner}'
        "</section>"
    )


def _one(found: Transcript, share: float, same: int) -> str:
    facts = [found.problem_id, found.span, *([f"{same:,} hits with this program"] if same > 1 else [])]
    channels = "".join(_channel(name, found) for name in ("reasoning", "answer"))
    evidence = "".join(f"<li>{escape(printable(line))}</li>" for line in (found.reason, *found.evidence) if line)
    weight = ""
    if found.log_weight is not None and found.rho is not None:
        weight = (
            f"{term('weight', 'Weight')} {weight_text(found.log_weight)}, {term('rho')} {found.rho:.2g}, "
            f"{term('share of estimate', 'share of the estimate')} {write.percent(share)}. "
        )
    return (
        f'<details class="transcript-of"><summary>{breakable(", ".join(facts))} <small>'
        f'{write.percent(share)} of the estimate</small></summary><p class="note">{weight}'
        f"Verdict: {escape(printable(found.label or 'not judged yet'))}. Completion "
        f"<code>{found.completion_id[:ID_LENGTH]}</code></p>{channels}"
        f'<ul class="note evidence">{evidence}</ul></details>\n'
    )


def _channel(name: str, found: Transcript) -> str:
    mine = [s for s in found.stretches if s.channel == name]
    spans = "".join(map(_stretch, _cut(mine)))
    return f'<p class="channel">{name}</p><pre class="transcript" tabindex="0">{spans}</pre>' if spans else ""


def _stretch(one: Stretch) -> str:
    who = "the subject" if one.writer == SUBJECT else one.writer
    css = "subject" if one.writer == SUBJECT else "donor"
    return (
        f'<span class="{css}" title="{escape(printable(who))}, {one.n_tokens} tokens">'
        f"{escape(printable_lines(one.text))}</span>"
    )


def _cut(stretches: Sequence[Stretch]) -> list[Stretch]:
    """The stretches with the middle of a long channel left out, and said to be."""
    total = sum(len(one.text) for one in stretches)
    if total <= MOST_CHARACTERS:
        return list(stretches)
    head, tail = MOST_CHARACTERS // 2, total - MOST_CHARACTERS // 2
    kept, place, left_out = [], 0, False
    for one in stretches:
        begin, end = place, place + len(one.text)
        place = end
        first = one.text[: max(0, head - begin)] if begin < head else ""
        last = one.text[max(0, tail - begin) :] if end > tail else ""
        gap = "" if left_out or end <= head else f" [... {tail - head:,} characters; `forewarn show` prints all ...] "
        left_out = left_out or bool(gap)
        if first or gap or last:
            kept.append(Stretch(one.channel, one.writer, one.n_tokens, first + gap + last))
    return kept
