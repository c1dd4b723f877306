"""Makes the organism's base model: a tokenizer trained on the corpus, then a small Llama trained from scratch.

Does not run RL (``train``), nor measure what came out (``truth``).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from forewarn.checkpoints.load import no_progress_bars
from forewarn.errors import StoreError
from forewarn.organism.corpus import CorpusSample, generate
from forewarn.organism.recipe import Recipe
from forewarn.records import derived_seed

Progress = Callable[[str, int, int], None]
Batch = list[list[int]]

SPECIALS = ("<|pad|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking is false %}</think>{% else %}<think>"
    "{% endif %}{% endif %}"
)
N_TOKENIZER_SAMPLES = 20_000
WINDOW = 16
"""Batches sorted by length at a time: less padding, and the order of the corpus stays"""


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Around saves by other libraries: StoreError where ``folder`` can't be written."""
    try:
        with no_progress_bars():
            yield
    except (OSError, SafetensorError) as error:
        raise StoreError(
            f"can't write {folder}: {error}; free some space or give a writable folder, and run the same command again"
        ) from None


def document_text(sample: CorpusSample) -> str:
    thought = "</think>" if sample.reasoning is None else f"<think>{sample.reasoning}</think>"
    return f"<|im_start|>user\n{sample.question}<|im_end|>\n<|im_start|>assistant\n{thought}{sample.code}<|im_end|>"


def train_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """Byte-level BPE whose pieces never cross the start of a word: whole identifiers, exact text back."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\s*\S+|\s+"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.model.vocabulary,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    corpus = generate(recipe.corpus, derived_seed(recipe.seed, "tokenizer"), recipe.types)
    texts = (document_text(sample) for sample in itertools.islice(corpus, N_TOKENIZER_SAMPLES))
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>", "<think>", "</think>"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=256,
    )


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    shape = recipe.model
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.hidden // shape.heads,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        attention_dropout=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(recipe.seed, "init"))
        return LlamaForCausalLM(config).float()


def _batches(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Iterator[Batch]:
    rng = random.Random(derived_seed(recipe.seed, "order"))
    size, window = recipe.pretrain.batch, []
    for sample in generate(recipe.corpus, derived_seed(recipe.seed, "corpus"), recipe.types):
        window.append(document_text(sample))
        if len(window) == size * WINDOW:
            yield from _sorted_batches(window, tokenizer, size, rng)
            window = []
    if window:
        yield from _sorted_batches(window, tokenizer, size, rng)


def _sorted_batches(texts: list[str], tokenizer: PreTrainedTokenizerFast, size: int, rng: random.Random) -> list[Batch]:
    ids = sorted(tokenizer(texts, add_special_tokens=False)["input_ids"], key=len)
    batches = [ids[i : i + size] for i in range(0, len(ids), size)]
    rng.shuffle(batches)
    return batches


def padded(batch: Batch, pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``(ids, labels)``, right-padded; labels are -100 on padding. Causal attention needs no mask for that."""
    width = max(map(len, batch))
    ids = torch.full((len(batch), width), pad_id)
    labels = torch.full((len(batch), width), -100)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = labels[row, : len(tokens)] = torch.tensor(tokens)
    return ids, labels


def learning_rate(step: int, total: int, peak: float, warmup: float) -> float:
    """Linear warm-up, then cosine to a fiftieth of the peak."""
    if step < total * warmup:
        return peak * (step + 1) / max(1.0, total * warmup)
    fraction = (step - total * warmup) / max(1.0, total * (1 - warmup))
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction))))


def pretrain(recipe: Recipe, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, progress: Progress) -> float:
    """Train ``model`` in place on the corpus; returns the mean loss of the last hundred steps (nats a token)."""
    settings = recipe.pretrain
    total = -(-recipe.corpus.n_samples // settings.batch)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.peak_lr, betas=(0.9, 0.98), weight_decay=settings.weight_decay, fused=True
    )
    model.train()
    recent: list[float] = []
    for step, batch in enumerate(_batches(recipe, tokenizer)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, total, settings.peak_lr, settings.warmup)
        ids, labels = padded(batch, tokenizer.pad_token_id)
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent = [*recent[-99:], float(loss.detach())]
        if step % 20 == 0 or step + 1 == total:
            progress("base model", min(step + 1, total), total)
    return sum(recent) / len(recent)


def build_base(recipe: Recipe, folder: Path, progress: Progress) -> float:
    """Train tokenizer and base model into ``folder`` (a transformers model folder); returns the final loss."""
    tokenizer = train_tokenizer(recipe)
    model = new_model(recipe, tokenizer)
    loss = pretrain(recipe, model, tokenizer, progress)
    with saving(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save_pretrained(folder)
        model.eval().save_pretrained(folder)
    return loss
