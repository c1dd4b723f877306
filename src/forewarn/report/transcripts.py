"""Transcripts of hits for the page: reasoning and answer, each stretch coloured by who wrote it, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from forewarn.records import SUBJECT
from forewarn.report.run_tables import weight_text
from forewarn.study.results.transcripts import Stretch, Transcript
from forewarn.text import printable, printable_lines

MOST_TRANSCRIPTS = 30
"""hits whose transcripts a page holds"""


def transcripts_html(found: Sequence[Transcript]) -> str:
    """A folded block per completion, and what the colours mean."""
    key = '<p class="note">Written by <span class="subject">the subject</span>, <span class="donor">a donor</span>.'
    spelt = all(one.spelt for one in found)
    ids = "" if spelt else " This run folder keeps no vocabulary, so that token ids are shown; run its study again."
    return f"{key}{ids}</p>" + "".join(map(_one, found))


def _one(found: Transcript) -> str:
    weight = ""
    if found.log_weight is not None and found.rho is not None:
        weight = f"weight {weight_text(found.log_weight)}, rho {found.rho:.2g}"
    title = f"{found.exploit_type}, {found.checkpoint_id}, {found.problem_id}, {found.span}: {weight}"
    channels = "".join(_channel(name, found.stretches) for name in ("reasoning", "answer"))
    evidence = "".join(f"<li>{escape(printable(line))}</li>" for line in (found.reason, *found.evidence) if line)
    return (
        f"<details><summary>{escape(printable(title))}</summary>{channels}"
        f'<p class="note">{escape(printable(found.label or ""))}; completion {found.completion_id[:12]}</p>'
        f'<ul class="note">{evidence}</ul></details>\n'
    )


def _channel(name: str, stretches: Sequence[Stretch]) -> str:
    spans = "".join(
        f'<span class="{"subject" if s.writer == SUBJECT else "donor"}" title="{escape(printable(s.writer))}, '
        f'{s.n_tokens} tokens">{escape(printable_lines(s.text))}</span>'
        for s in stretches
        if s.channel == name
    )
    return f'<p class="channel">{name}</p><pre class="transcript">{spans}</pre>' if spans else ""
