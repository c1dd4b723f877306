"""The staged sampler of spans: donor, subject, donor, subject, under one limit on total length.

Who writes the next token is a function of the tokens so far, and of draws independent of them, so that a completion's
density under a span is a product of its writers' densities, or a mean of such products (method.md, "Exact when").
Rows that wait for the same writer share an engine call, whatever their spans and wherever they are. Not here: whose
turn it is (``turns.py``), scores, estimates, banks of traces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from forewarn.engines.base import Engine
from forewarn.errors import InputError
from forewarn.estimation import donor_key
from forewarn.formats import Channels, anchor_ids
from forewarn.interpolation.turns import Hand
from forewarn.records import SUBJECT, Completion, Policy, Span, content_key, derived_seed
from forewarn.records.spans import Anchor


@dataclass(frozen=True, slots=True)
class Writer:
    """A model that writes: an engine, with one of its adapters or none."""

    engine: Engine
    adapter: str | None = None
    temperature: float | None = None
    """its own; None: the policy's"""

    def policy(self, policy: Policy) -> Policy:
        """The policy that it writes under, where ``policy`` is the study's."""
        return policy if self.temperature is None else replace(policy, temperature=self.temperature)


@dataclass(frozen=True, slots=True)
class Order:
    """Completions wanted of one problem under one span."""

    problem_id: str
    prompt_ids: tuple[int, ...]
    """the prompt with the reasoning channel open"""
    span: Span
    count: int
    entry_point: str | None = None
    """the function that the answer is to define: for windows counted from its body"""
    first: int = 0
    """which of the span's completions is the first wanted: those before it were drawn another time"""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A completion and what its writers said of it while they wrote."""

    completion: Completion
    log_probs: tuple[float, ...]
    """nats, one a token, under the model that wrote it: later scores are held against these"""


@dataclass(slots=True)
class _Draft:
    """A completion being written."""

    order: Order
    index: int
    """which of the order's completions"""
    total: int
    """limit on the completion's tokens"""
    hand: Hand
    ids: list[int] = field(default_factory=list)
    donor_wrote: list[bool] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    n_reasoning: int | None = None
    """None while the reasoning is open"""
    ended: bool = False
    turns: Counter[int] = field(default_factory=Counter)
    """how often it was written at, by stage"""

    def job(self) -> _Job | None:
        """What has to be written next; None when the completion is done."""
        left = self.total - len(self.ids)
        if self.ended or left <= 0:
            return None
        turn = self.hand.turn(self.ids, self.n_reasoning)
        stage = (0 if self.n_reasoning is None else 2) + (0 if turn.donor else 1)
        writer = donor_key(self.order.span) if turn.donor else SUBJECT
        return _Job(stage, writer, turn.through, turn.anchor, left if turn.limit is None else min(turn.limit, left))


@dataclass(frozen=True, slots=True)
class _Job:
    stage: int
    """donor's reasoning, subject's reasoning, donor's answer, subject's answer"""
    writer: str
    through: bool
    """may the writer pass the end of the reasoning"""
    anchor: Anchor | None
    """whose tokens the writer has to stop at"""
    limit: int

    @property
    def key(self) -> tuple[str, bool] | tuple[str, bool, str]:
        """Rows of one key share an engine call."""
        return (self.writer, self.through) if self.anchor is None else (self.writer, self.through, self.anchor)


def sample_spans(
    orders: Sequence[Order],
    *,
    subject: Writer,
    donors: Mapping[str, Writer],
    channels: Channels,
    policy: Policy,
    seed: int,
    checkpoint_id: str,
) -> Iterator[Drawn]:
    """Draw every order's completions, each with a donor trace of its own.

    ``donors``: by ``donor_key`` of the spans (name, or name*scale). ``policy`` is the subject's and the donors', its
    ``max_total_tokens`` the limit on a whole completion under every span. Same arguments, same completions;
    and an order's completions are the same, up to rounding in the models, whatever is ordered beside it. Yields in the
    order of ``orders``. Raises InputError for unknown donors and empty orders.
    """
    for order in orders:
        if order.count < 1:
            raise InputError(f"span {order.span.name} of problem {order.problem_id} asks for {order.count} completions")
        if order.span.writes and donor_key(order.span) not in donors:
            raise InputError(f"span {order.span.name} names a donor that is not given; given are {sorted(donors)}")
        if order.span.anchor == "body" and order.entry_point is None:
            raise InputError(f"span {order.span.name} of problem {order.problem_id} needs the problem's entry point")
    drafts = [
        _draft(order, i, channels, policy, seed)
        for order in orders
        for i in range(order.first, order.first + order.count)
    ]
    writers = {**donors, SUBJECT: subject}
    jobs = [draft.job() for draft in drafts]
    while open_stages := {job.stage for job in jobs if job is not None}:
        # a row returns to a stage where a closer of several tokens turned out not to be whole, and after a burst
        stage = min(open_stages)
        rows = [i for i, job in enumerate(jobs) if job is not None and job.stage == stage]
        for key, group in _grouped([(drafts[i], job) for i in rows if (job := jobs[i]) is not None]):
            # of the completion's own name: what is drawn beside it changes nothing
            seeds = [
                derived_seed("spans", seed, d.order.problem_id, d.order.span.name, d.index, stage, d.turns[stage])
                for d, _ in group
            ]
            _write(group, writers[key[0]], channels, policy, seeds)
        for i in rows:
            drafts[i].turns[stage] += 1
            jobs[i] = drafts[i].job()
    source = content_key(checkpoint_id, policy.key, seed)
    for draft in drafts:
        yield Drawn(_completion(draft, policy, seed, checkpoint_id, source), tuple(draft.log_probs))


def _draft(order: Order, index: int, channels: Channels, policy: Policy, seed: int) -> _Draft:
    own = derived_seed("windows", seed, order.problem_id, order.span.name, index) if order.span.random else 0
    hand = Hand.of(order.span, channels, order.entry_point, most=policy.max_total_tokens, seed=own)
    return _Draft(order, index, policy.max_total_tokens, hand)


def _grouped(
    waiting: Iterable[tuple[_Draft, _Job]],
) -> list[tuple[tuple[str, bool] | tuple[str, bool, str], list[tuple[_Draft, _Job]]]]:
    """Rows by ``_Job.key``: one engine call each."""
    groups: dict[tuple[str, bool] | tuple[str, bool, str], list[tuple[_Draft, _Job]]] = {}
    for draft, job in waiting:
        groups.setdefault(job.key, []).append((draft, job))
    return sorted(groups.items(), key=lambda item: item[0])


def _write(
    rows: Sequence[tuple[_Draft, _Job]], writer: Writer, channels: Channels, policy: Policy, seeds: Sequence[int]
) -> None:
    """Let one writer go on with its rows, and see where that left each of them."""
    first = rows[0][1]
    stops = [*channels.end_ids]
    stops += [] if first.through else channels.closing_ids
    stops += [] if first.anchor is None else anchor_ids(channels, first.anchor)
    samples = writer.engine.sample(
        [(*draft.order.prompt_ids, *draft.ids) for draft, _ in rows],
        policy=writer.policy(policy),
        seed=seeds,
        max_new_tokens=[job.limit for _, job in rows],
        stop_ids=tuple(stops),
        adapter=writer.adapter,
    )
    for (draft, job), sample in zip(rows, samples, strict=True):
        draft.ids.extend(sample.token_ids)
        draft.log_probs.extend(sample.log_probs)
        draft.donor_wrote.extend([job.writer != SUBJECT] * len(sample.token_ids))
        draft.hand.wrote(job.writer != SUBJECT, len(sample.token_ids))
        draft.ended = sample.finish == "stop" and sample.token_ids[-1] in channels.end_ids
        if draft.n_reasoning is None:
            draft.n_reasoning = channels.closed_at(draft.ids)


def _completion(draft: _Draft, policy: Policy, seed: int, checkpoint_id: str, source: str) -> Completion:
    order = draft.order
    identity = content_key("completion", source, order.problem_id, order.span.name, draft.index)
    return Completion(
        completion_id=identity,
        problem_id=order.problem_id,
        checkpoint_id=checkpoint_id,
        span=order.span,
        token_ids=tuple(draft.ids),
        n_reasoning=len(draft.ids) if draft.n_reasoning is None else draft.n_reasoning,
        donor_wrote=tuple(draft.donor_wrote),
        finish_reason="stop" if draft.ended else "length",
        trace_id=identity,
        policy=policy,
        seed=seed,
    )
