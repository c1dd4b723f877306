"""The staged sampler of spans: donor, subject, donor, subject, under one limit on total length.

Who writes the next token is a function of the tokens so far, so that a completion's density under a span is a product
of its writers' densities (method.md, "Exact when"). Every span's rows share each stage's engine call. Not here: scores,
estimates, banks of traces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from forewarn.engines.base import Engine
from forewarn.errors import InputError
from forewarn.estimation import donor_key
from forewarn.formats import Channels
from forewarn.records import SUBJECT, Completion, Policy, Span, content_key, derived_seed

STAGES = 4
"""donor's reasoning, subject's reasoning, donor's answer, subject's answer"""


@dataclass(frozen=True, slots=True)
class Writer:
    """A model that writes: an engine, with one of its adapters or none."""

    engine: Engine
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """Completions wanted of one problem under one span."""

    problem_id: str
    prompt_ids: tuple[int, ...]
    """the prompt with the reasoning channel open"""
    span: Span
    count: int


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
    ids: list[int] = field(default_factory=list)
    donor_wrote: list[bool] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    n_reasoning: int | None = None
    """None while the reasoning is open"""
    ended: bool = False
    turns: int = 0
    """how often a writer was asked to go on with it"""

    def next_seed(self, seed: int) -> int:
        """A seed for its next tokens, of its own name: what is drawn beside it changes nothing."""
        self.turns += 1
        return derived_seed("spans", seed, self.order.problem_id, self.order.span.name, self.index, self.turns)

    def job(self) -> _Job | None:
        """What has to be written next; None when the completion is done."""
        left = self.total - len(self.ids)
        if self.ended or left <= 0:
            return None
        span = self.order.span
        if self.n_reasoning is None:
            part, written, later = span.k, len(self.ids), 2
        else:
            part, written, later = span.m, len(self.ids) - self.n_reasoning, 0
        stage = (0 if later else 2) + (0 if written < part else 1)
        donor = written < part
        limit = min(part - written, left) if donor else left
        # the subject goes through into the answer in one go where the donor writes none of it: its reasoning is
        # found in the ids afterwards; otherwise it has to stop where the channel may have closed
        through = later == 0 or (not donor and span.m == 0)
        return _Job(stage, donor_key(span) if donor else SUBJECT, through, limit)


@dataclass(frozen=True, slots=True)
class _Job:
    stage: int
    writer: str
    through: bool
    """may the writer pass the end of the reasoning"""
    limit: int


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
        if order.span.donor != SUBJECT and donor_key(order.span) not in donors:
            raise InputError(f"span {order.span.name} names a donor that is not given; given are {sorted(donors)}")
    drafts = [_Draft(order, i, policy.max_total_tokens) for order in orders for i in range(order.count)]
    writers = {**donors, SUBJECT: subject}
    for stage in range(STAGES):
        # a row returns to a stage only where a closer of several tokens turned out not to be whole
        for _ in range(policy.max_total_tokens):
            waiting = [(draft, job) for draft in drafts if (job := draft.job()) is not None and job.stage == stage]
            if not waiting:
                break
            for key, rows in _grouped(waiting):
                _write(rows, writers[key[0]], channels, policy, seed, key[1])
    source = content_key(checkpoint_id, policy.key, seed)
    for draft in drafts:
        yield Drawn(_completion(draft, policy, seed, checkpoint_id, source), tuple(draft.log_probs))


def _grouped(
    waiting: Iterable[tuple[_Draft, _Job]],
) -> list[tuple[tuple[str, bool], list[tuple[_Draft, _Job]]]]:
    """Rows by (writer, may it pass the end of the reasoning): one engine call each."""
    groups: dict[tuple[str, bool], list[tuple[_Draft, _Job]]] = {}
    for draft, job in waiting:
        groups.setdefault((job.writer, job.through), []).append((draft, job))
    return sorted(groups.items(), key=lambda item: item[0])


def _write(
    rows: Sequence[tuple[_Draft, _Job]],
    writer: Writer,
    channels: Channels,
    policy: Policy,
    seed: int,
    through: bool,
) -> None:
    """Let one writer go on with its rows, and see where that left each of them."""
    stops = channels.end_ids if through else (*channels.end_ids, *channels.closing_ids)
    samples = writer.engine.sample(
        [(*draft.order.prompt_ids, *draft.ids) for draft, _ in rows],
        policy=policy,
        seed=[draft.next_seed(seed) for draft, _ in rows],
        max_new_tokens=[job.limit for _, job in rows],
        stop_ids=stops,
        adapter=writer.adapter,
    )
    for (draft, job), sample in zip(rows, samples, strict=True):
        draft.ids.extend(sample.token_ids)
        draft.log_probs.extend(sample.log_probs)
        draft.donor_wrote.extend([job.writer != SUBJECT] * len(sample.token_ids))
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
