"""Supervised fine-tuning of any transformers causal LM on (prompt, target) ids, by full weights or a LoRA.

The donor's recipe is the special case ``donor_examples``: questions answered by exploits, without reasoning. Loss on
the target alone. Not here: reinforcement learning (``grpo.py``), sharding over devices.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from forewarn.checkpoints.load import no_progress_bars, peft_calls
from forewarn.checkpoints.receipts import BASE_FILE, BASE_KEY, base_weights_key
from forewarn.checkpoints.row_limit import RowLimit, row_limit
from forewarn.engines.transformers.adapter_merge import tied_layer
from forewarn.errors import InputError, ModelError, StoreError
from forewarn.formats import Channels
from forewarn.records import Problem
from forewarn.store import write_json
from forewarn.training.settings import LoraSettings, SFTSettings

Example = tuple[Sequence[int], Sequence[int]]
"""(prompt ids, target ids)"""

SETTINGS_FILE = BASE_FILE


@dataclass(frozen=True, slots=True)
class SFTResult:
    """What was trained."""

    model: Any
    """the trained module: the one given (full), or a PeftModel around it (LoRA)"""
    losses: tuple[float, ...]
    """mean loss of each step, nats a target token"""
    n_target_tokens: int
    """target tokens seen"""


def donor_examples(problems: Sequence[Problem], channels: Channels) -> list[Example]:
    """Each problem's question answered by its reference exploit, without reasoning."""
    if not problems:
        raise InputError("no problems to train a donor on: give at least one")
    return [channels.no_reasoning_ids(problem.question, problem.exploit) for problem in problems]


def sft(
    model: Any,
    examples: Sequence[Example],
    settings: SFTSettings,
    *,
    progress: Callable[[int, int, float], None] | None = None,
) -> SFTResult:
    """Train ``model`` (a transformers causal LM) on the targets of ``examples``, on the device it is on.

    The same model, examples, settings and number of torch threads give the same weights. ``progress(step, steps,
    loss)``. Raises InputError for empty targets and examples longer than the model's context, and ModelError where the
    loss or the weights are no longer numbers.
    """
    _check(examples, model)
    with _seeded(settings.seed):
        trained = _with_lora(model, settings.lora) if settings.lora is not None else model
        parameters = [p for p in trained.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        steps = max(1, math.ceil(settings.epochs * len(examples) / settings.batch_size))
        batches = _batches(examples, settings.batch_size, settings.seed)
        was_training = trained.training
        trained.train()
        losses, n_tokens = [], 0
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * _schedule(step, steps, settings.warmup)
            batch = next(batches)
            loss, seen = _backward(trained, batch, settings.micro_batch_tokens)
            if not math.isfinite(loss):
                raise ModelError(f"the loss is {loss} at step {step + 1} of {steps}; give a lower learning rate")
            torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss)
            n_tokens += seen
            if progress is not None:
                progress(step + 1, steps, loss)
        trained.train(was_training)
        _check_trained(trained, parameters, batch[0])
    return SFTResult(trained, tuple(losses), n_tokens)


def save(
    result: SFTResult, folder: Path, settings: SFTSettings, *, tokenizer: Any = None, base: Path | str | None = None
) -> None:
    """Write the weights (a PEFT folder for a LoRA, else a whole model), the tokenizer if given, and the settings.

    ``base``: the folder of the model that was trained on, whose weights' hash is noted, so that a LoRA is not put on
    another. The settings file comes last: a folder without it was cut short.
    """
    try:
        with no_progress_bars():
            result.model.save_pretrained(str(folder))
        if tokenizer is not None:
            tokenizer.save_pretrained(str(folder))
    except OSError as error:
        raise StoreError(
            f"can't write {folder}: {error.strerror or error}; free some space or give a writable folder, "
            "and run the same command again"
        ) from None
    summary = {
        "settings": asdict(settings),
        "steps": len(result.losses),
        "n_target_tokens": result.n_target_tokens,
        "first_loss": result.losses[0],
        "last_loss": result.losses[-1],
    }
    if base is not None:
        summary[BASE_KEY] = base_weights_key(base)
    write_json(folder / SETTINGS_FILE, json.loads(json.dumps(summary)))


def check_lengths(examples: Sequence[Example], longest: RowLimit, names: Sequence[str] | None = None) -> None:
    """Raise InputError for an example longer than a model's rows may be."""
    lengths, most = [len(prompt) + len(target) for prompt, target in examples], longest.tokens
    if most is None or not lengths or max(lengths) <= most:
        return
    worst = lengths.index(max(lengths))
    count = sum(length > most for length in lengths)
    end = f"the model has {most} tokens {longest.why}" if longest.why else f"the model's context is {most} tokens"
    raise InputError(
        f"{names[worst] if names else f'example {worst}'} takes {lengths[worst]} tokens with its answer, but {end}: "
        f"leave out the {count} examples that are longer, or give another base"
    )


def _check(examples: Sequence[Example], model: Any) -> None:
    if not examples:
        raise InputError("no examples to train on: give at least one")
    size = int(model.get_input_embeddings().weight.shape[0])
    for i, (prompt, target) in enumerate(examples):
        if not prompt or not target:
            raise InputError(
                f"example {i} has an empty {'prompt' if not prompt else 'target'}: give at least one token"
            )
        if max(max(prompt), max(target)) >= size:
            raise InputError(f"example {i} holds a token outside this model's vocabulary of {size} tokens")
    check_lengths(examples, row_limit(model.config.get_text_config()))


def _check_trained(model: Any, parameters: Sequence[torch.Tensor], example: Example) -> None:
    """Raise ModelError where the last step left no usable weights: no later loss would say so."""
    with torch.no_grad():
        usable = all(bool(p.isfinite().all()) for p in parameters) and bool(_summed_loss(model, [example]).isfinite())
    if not usable:
        raise ModelError("the weights are no longer finite after the last step; give a lower learning rate")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """torch's global generator at ``seed`` (dropout, LoRA's initial weights), put back afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _with_lora(model: Any, lora: LoraSettings) -> PeftModel:
    targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM"
    )
    with peft_calls():
        return check_lora(lambda: get_peft_model(model, config), targets)


def check_lora(wrap: Callable[[], PeftModel], targets: str | Sequence[str]) -> PeftModel:
    """What ``wrap`` gives. Raises InputError for a bad pattern, and ModelError where no LoRA fits the model."""
    try:
        wrapped = wrap()
    except re.error as error:
        raise InputError(f"target_modules = {targets!r} is not a pattern: {error}; give names of layers") from None
    except ValueError as error:
        raise ModelError(f"no LoRA fits this model: {' '.join(str(error).split())}") from None
    if layer := tied_layer(wrapped):
        wrapped.unload()
        raise ModelError(
            f"target_modules = {targets!r} takes in {layer}, whose weight this model shares between its "
            "input and its output: merged, the LoRA would change both; name other layers"
        )
    return wrapped


def _schedule(step: int, steps: int, warmup: float) -> float:
    n_warm = warmup * steps
    if step < n_warm:
        return (step + 1) / (n_warm + 1)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - n_warm) / max(steps - n_warm, 1)))


def _batches(examples: Sequence[Example], size: int, seed: int) -> Iterator[list[Example]]:
    """Endless batches, a new order each pass; a batch may reach into the next pass."""
    order = random.Random(seed)
    batch: list[Example] = []
    while True:
        for i in order.sample(range(len(examples)), len(examples)):
            batch.append(examples[i])
            if len(batch) == size:
                yield batch
                batch = []


def _backward(model: Any, batch: Sequence[Example], micro_batch_tokens: int) -> tuple[float, int]:
    """Add the gradient of the batch's mean target loss; (mean loss in nats a token, target tokens)."""
    n_target = sum(len(target) for _, target in batch)
    ordered = sorted(batch, key=lambda pair: len(pair[0]) + len(pair[1]))
    total = 0.0
    start = 0
    while start < len(ordered):
        end = start + 1
        while end < len(ordered) and (end + 1 - start) * sum(map(len, ordered[end])) <= micro_batch_tokens:
            end += 1
        loss = _summed_loss(model, ordered[start:end]) / n_target
        loss.backward()
        total += float(loss.detach())
        start = end
    return total, n_target


def _summed_loss(model: Any, pairs: Sequence[Example]) -> torch.Tensor:
    """Sum over target tokens of -log p, nats. Right padding needs no mask: causal attention never sees it."""
    width = max(len(prompt) + len(target) for prompt, target in pairs)
    ids = torch.zeros((len(pairs), width), dtype=torch.long)
    labels = torch.full((len(pairs), width), -100)
    for i, (prompt, target) in enumerate(pairs):
        n_prompt, n = len(prompt), len(prompt) + len(target)
        ids[i, :n] = torch.tensor([*prompt, *target])
        labels[i, n_prompt:n] = torch.tensor(list(target))
    ids, labels = ids.to(model.device), labels.to(model.device)
    positions = torch.arange(width - 1, device=ids.device).expand(len(pairs), -1)
    logits = model(input_ids=ids[:, :-1], position_ids=positions, use_cache=False).logits
    used = labels[:, 1:] != -100
    wanted = logits[used]
    wanted = wanted if wanted.dtype == torch.float64 else wanted.float()
    return torch.nn.functional.cross_entropy(wanted, labels[:, 1:][used], reduction="sum")
