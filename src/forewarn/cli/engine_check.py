"""``forewarn engine check``: checks an engine's log-probs on the user's own model, and prints a receipt."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from forewarn.cli.say import say_json, say_lines
from forewarn.engines.registry import DEFAULT_ENGINE, engines_named
from forewarn.text import printable

if TYPE_CHECKING:
    from forewarn.engines.base import Engine
    from forewarn.engines.check.adapter_law import AdapterLaw
    from forewarn.engines.check.check import CheckSizes, EngineReceipt, Prompts
    from forewarn.engines.check.laws import Differences
    from forewarn.engines.registry import EngineSpec

EXIT_NOT_TRUSTED = 3
CHECKED = "checked"
"""the adapter's name in the engines"""
Dtype = Literal["float32", "bfloat16", "float16", "float64"]
Tokens = Annotated[
    int | None,
    typer.Option(min=1, help="Longest completion (your study's max_total_tokens); default: 512, or less to fit."),
]


def check(
    model: Annotated[str, typer.Argument(help="A model folder, or a hub name (org/name@revision).")],
    engine: Annotated[str, typer.Option(help=f"What is checked: {engines_named()}.")] = DEFAULT_ENGINE,
    against: Annotated[str | None, typer.Option(help="A second engine that scores the same tokens.")] = None,
    adapter: Annotated[str | None, typer.Option(help="A PEFT adapter on the model: a folder or a hub name.")] = None,
    form: Annotated[
        str, typer.Option("--format", help="Chat format of the prompts; auto: the model's own; none: plain text.")
    ] = "auto",
    system: Annotated[str | None, typer.Option(help="A system message before every question.")] = None,
    dtype: Annotated[Dtype, typer.Option(help="Float type of the engine's weights.")] = "float32",
    against_dtype: Annotated[Dtype, typer.Option(help="Float type of the second engine's weights.")] = "float32",
    device: Annotated[str, typer.Option(help="Where transformers runs: cpu, cuda, ...")] = "cpu",
    batch_size: Annotated[int, typer.Option(min=1, help="Maximum number of rows decoded together.")] = 64,
    completions: Annotated[int, typer.Option(min=1, help="Completions of each of four questions.")] = 8,
    tokens: Tokens = None,
    draws: Annotated[int, typer.Option(min=1, help="Short samples for frequencies and support.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is sampled.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check an engine's log-probs on your model: can importance weights be trusted? Exits with 3 if not."""
    import torch

    from forewarn.checkpoints.ends import model_ends
    from forewarn.checkpoints.hub import local_folder
    from forewarn.checkpoints.load import load_tokenizer
    from forewarn.checkpoints.receipts import take_receipt
    from forewarn.engines.check.check import CheckSizes, check_engine, make_prompts
    from forewarn.engines.registry import EngineSpec

    torch.set_num_threads(1)
    folder = str(local_folder(model))
    take_receipt(folder, adapter)  # checks for whole files and an adapter of this base, as a study does
    prompts = make_prompts(load_tokenizer(folder), form, system, ends=model_ends([folder]))
    _check_system(system, prompts)
    sizes = CheckSizes(completions=completions, max_new_tokens=tokens, draws=draws, seed=seed)
    wanted = [(EngineSpec(engine, device=device, batch_size=batch_size), dtype)]
    if against is not None:
        wanted.append((EngineSpec(against, device=device, batch_size=batch_size), against_dtype))
    adapters = [] if adapter is None else [Path(local_folder(adapter))]
    name = CHECKED if adapters else None
    with ExitStack() as stack:
        opened = [_open(spec, folder, kind, adapters, stack) for spec, kind in wanted]
        second = opened[1] if against is not None else None
        law = _load(opened, adapters[0], prompts, sizes) if adapters else None
        receipt = check_engine(opened[0], prompts, sizes=sizes, adapter=name, against=second, adapters=law)
    about = {
        "model": model,
        "adapter": adapter,
        "engine": f"{engine}, {dtype}",
        "against": None if against is None else f"{against}, {against_dtype}",
        "prompts": prompts.form,
    }
    say_json(as_json_value(about, receipt)) if as_json else say_lines(as_text(about, receipt))
    if not receipt.trusted:
        raise typer.Exit(EXIT_NOT_TRUSTED)


def _check_system(system: str | None, prompts: Prompts) -> None:
    """Raise InputError if the prompts can't include a system message."""
    from forewarn.errors import InputError

    if system is not None and prompts.form.startswith("plain text"):
        raise InputError(
            f"--system {system[:40]!r} would have no effect, since the prompts are {prompts.form}: "
            "name a --format that has a system message, or leave --system out"
        )


def _open(spec: EngineSpec, folder: str, dtype: str, adapters: Sequence[Path], stack: ExitStack) -> Engine:
    """Open the engine, ready to load ``adapters``; ``stack`` stops it."""
    from forewarn.engines.registry import open_engine

    engine = open_engine(spec, folder, dtype=dtype, adapters=adapters)
    if hasattr(engine, "close"):
        stack.callback(engine.close)
    return engine


def _load(engines: Sequence[Engine], adapter: Path, prompts: Prompts, sizes: CheckSizes) -> AdapterLaw:
    """Load the adapter into every engine, and measure how that changes the first."""
    from forewarn.engines.check.adapter_law import USUAL_TOKENS, adapter_law
    from forewarn.engines.check.drawing import longest_completion

    longest = longest_completion(engines[0], prompts.ids, sizes.max_new_tokens)
    law = adapter_law(
        engines[0],
        prompts.ids,
        adapter,
        name=CHECKED,
        stop_ids=prompts.stop_ids,
        max_new_tokens=min(USUAL_TOKENS, longest),
        seed=sizes.seed,
    )
    for engine in engines[1:]:
        engine.load_adapter(CHECKED, adapter)
    return law


def as_json_value(about: dict[str, str | None], receipt: EngineReceipt) -> dict[str, Any]:
    measured = asdict(receipt)
    for name, found in (
        ("agreement", receipt.agreement),
        ("batched", receipt.batched),
        ("against", receipt.against),
    ):
        if found is not None:
            measured[name] |= {"weight_factor": found.weight_factor, "rate_factor": found.rate_factor}
    if receipt.adapters is not None:
        measured["adapters"]["scale_holds"] = receipt.adapters.scale_holds
    for row, one in zip(measured["supports"], receipt.supports, strict=True):
        row["holds"] = one.holds
    verdict = {"trusted": receipt.trusted, "faults": receipt.faults, "sentence": receipt.sentence}
    second = {"second_engine": about["against"]}
    named = {name: value for name, value in about.items() if name != "against"}
    return {**named, **second, **measured, **verdict}


def as_text(about: dict[str, str | None], receipt: EngineReceipt) -> str:
    rows = [(name, value) for name, value in about.items() if value is not None and name != "against"]
    rows += [
        ("sampled, then scored", _differences(receipt.agreement)),
        ("batched, then single", _differences(receipt.batched)),
    ]
    if receipt.against is not None:
        rows.append((f"against {about['against']}", _differences(receipt.against)))
    if (law := receipt.adapters) is not None:
        rows += [
            ("base, then adapter, base", _differences(law.base)),
            ("adapter, beside others", _differences(law.kept)),
            ("adapter, loaded twice", _differences(law.again)),
            (
                "adapter at scale 0.5",
                f"worst token {law.half_base.worst_token:.1e} nats from the base and {law.half_whole.worst_token:.1e} "
                f"from the whole adapter, which is {law.effect.worst_token:.1e} from the base",
            ),
        ]
    p_value = "too few likely outcomes to test" if receipt.p_value is None else f"p = {receipt.p_value:.2g}"
    n_cells, n_outside, n = (sum(getattr(d, name) for d in receipt.drawn) for name in ("n_cells", "n_outside", "n"))
    said = f"{p_value} over {n_cells} outcomes at {len(receipt.drawn)} places, {n} draws, {n_outside} impossible"
    rows.append(("frequencies", said))
    for found in receipt.supports:
        policy = found.policy
        name = f"top_p {policy.top_p:g}" if policy.top_p < 1 else f"top_k {policy.top_k}" if policy.top_k else ""
        rows.append(
            (
                f"support, {name or f'min_p {policy.min_p:g}'}",
                f"{'holds' if found.holds else 'DOES NOT HOLD'}: {found.n_inside} of {found.n_tokens} tokens inside, "
                f"{found.n_drawn_outside} drawn outside, off by {found.worst_constant:.1e} nats",
            )
        )
    rows.append(("longest row", f"{receipt.longest_row} tokens, prompt and completion"))
    rows += [("refused", refused) for refused in receipt.refused]
    rows.append(
        ("tokens a second", f"{receipt.sampled_per_s:,.0f} sampled, {receipt.scored_per_s:,.0f} scored (completions)")
    )
    width = max(len(name) for name, _ in rows)
    return "\n".join([*(f"{printable(name):<{width}}  {printable(value)}" for name, value in rows), receipt.sentence])


def _differences(found: Differences) -> str:
    return (
        f"{found.n_tokens} tokens; worst token {found.worst_token:.1e} nats, worst prefix {found.worst_prefix:.1e}; "
        f"per 100 tokens bias {found.bias:+.1e} ± {found.bias_error:.0e}, spread {found.spread:.1e}"
    )
