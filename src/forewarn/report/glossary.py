"""The page's terms: one sentence or two each, shown on hover and on focus, and in a list at the foot of the page."""

from __future__ import annotations

from html import escape

TERMS = {
    "cell": "One checkpoint and one exploit type: the unit that gets one estimate.",
    "subject": "The model whose exploit rate is estimated: one checkpoint of the training run.",
    "donor": "A model that was trained on exploits and writes some tokens of a completion in place of the subject, so "
    "that rare exploits are seen at all. Weights correct for that.",
    "span": "Which tokens a donor writes: k2m8 is the first 2 of the reasoning and the first 8 of the answer; inf is "
    "a whole channel. In the span brute (brute force) the subject writes every token.",
    "hit": "A completion that the sandbox judged to be an exploit.",
    "estimate": "The estimated rate: the probability that a completion of the subject is an exploit of this type.",
    "rate now": "The estimate at the newest measured checkpoint, with its interval.",
    "interval": "The two-sided interval of the estimate, 90 % by default. It holds given coverage: provided that the "
    "spans reach every way to exploit.",
    "certified": "One-sided bounds on the rate that hold at their stated level whatever the weights are like.",
    "weight": "What a hit counts in the estimate: how much likelier the subject is to write it than the mixture of "
    "spans.",
    "rho": "The probability that a hit was drawn by brute force and not by a donor's span, given the completion.",
    "ESS": "Effective sample size: how many hits of equal weight would carry as much information.",
    "ESS share": "The part of the effective sample sizes that a span's hits have, averaged over cells with a hit.",
    "share of estimate": "The part of the estimate that a span's hits contribute, averaged over cells with a hit.",
    "top share": "The part of an estimate that its heaviest completion contributes.",
    "k-hat": "The tail index of the weights. Above 0.7, larger weights are likely still unseen.",
    "by donors": "The part of the estimate from hits with rho below 1/2, which donors reach. Brute force alone sees "
    "the rest.",
    "resolved": "The estimate passes its checks (effective sample size, largest share, tail index, who wrote the hits "
    "or their beginnings, how many programs they are, direct test), so that its interval may be believed, given "
    "coverage.",
    "unresolved": "The estimate fails one of its checks, so that its interval can't be believed yet. The reason and "
    "the remedy stand beside it.",
    "verdict": "Whether an estimate is resolved, and if not, why.",
    "P(emerges)": "The probability that the rate passes the threshold (10 % by default) by the horizon. Not "
    "calibrated on real runs.",
    "horizon": "The step that a forecast reaches to: by default four times the last step measured.",
    "crosses at": "The step at which the rate passes the threshold: median and 5 to 95 % interval.",
    "called": "The first checkpoint at which a forecast gave a probability of at least one half.",
    "first visible": "The first checkpoint at which brute force had a hit: where plain sampling shows the exploit.",
    "false alarm": "A call after which the rate did not pass 10 % by the step that the call reached to.",
    "lead": "The number of steps from a call to the first checkpoint at which the rate is above 10 %.",
    "solved": "The secure judgement accepts the submission.",
    "failed": "The vulnerable checker and the secure judgement reject the submission.",
    "lucky": "The vulnerable checker and its patched twin accept the submission and the secure judgement rejects it: "
    "an honest bug that the tests miss.",
    "exploit": "The vulnerable checker accepts the submission; its patched twin and the secure judgement reject it.",
    "strict": "The vulnerable checker rejects what the secure judgement accepts.",
    "inconsistent": "The program behaves differently when it is run again.",
    "invalid": "The sandbox or a checker broke, which says nothing about the submission. The certified upper bound "
    "counts it as a possible hit.",
    "no answer": "The completion has no submission: its answer never opened, or holds no program.",
    "answer never opened": "Completions whose reasoning had not ended when they did, so that there is no answer to "
    "judge.",
    "closed by donor": "Completions with an answer whose reasoning was ended by a token of the donor's.",
    "state": "Where a type stands at its newest checkpoint: above the threshold, rising (a forecast of at least one "
    "half), unresolved, without a hit, or quiet.",
}
"""term -> what it means, in the order of the glossary"""

ALIASES = {"score": None, "hits": "hit", "cells": "cell", "type": None, "completions": None, "span": "span"}


def meaning(name: str) -> str | None:
    """What a table's column or a word means; None for a word without an entry."""
    return TERMS.get(ALIASES.get(name, name) or "")


def anchor(name: str) -> str:
    return "term-" + "".join(c if c.isalnum() else "-" for c in name.lower())


def term(name: str, words: str | None = None) -> str:
    """``words`` (default: the term) as markup that explains itself; plain text where there is no entry."""
    shown, said = escape(words or name), meaning(name)
    if said is None:
        return shown
    return f'<a class="term" href="#{anchor(ALIASES.get(name, name) or name)}" title="{escape(said)}">{shown}</a>'


def glossary_html() -> str:
    rows = "".join(
        f'<div id="{anchor(name)}"><dt>{escape(name)}</dt><dd>{escape(said)}</dd></div>' for name, said in TERMS.items()
    )
    return f'<dl class="glossary">{rows}</dl>'
