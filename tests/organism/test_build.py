"""Tokenizer, chat format and pretraining: exact text back, the trained form is the sampled form, folders kept safe."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from forewarn.checkpoints.load import load_tokenizer
from forewarn.errors import InputError, ModelError, StoreError
from forewarn.organism import verbs
from forewarn.organism.build import SPECIALS, document_text, learning_rate, new_model, padded, train_tokenizer
from forewarn.organism.chat import OrganismChat
from forewarn.organism.corpus import CorpusSample, generate
from forewarn.organism.recipe import Recipe
from forewarn.organism.shipped import Organism, file_hash, shipped_folder
from forewarn.records import derived_seed
from tests.organism.conftest import TINY, quiet

SHIPPED_TOKENIZER = load_tokenizer(shipped_folder() / "base")


@pytest.fixture(scope="module")
def samples() -> Sequence[CorpusSample]:
    corpus = list(islice(generate(Recipe().corpus, derived_seed(0, "corpus")), 20_000))
    return random.Random(1).sample(corpus, 600)


def test_corpus_text_comes_back_exactly(samples: Sequence[CorpusSample], tiny_folder: Path) -> None:
    texts = [document_text(s) for s in samples]
    for tokenizer in (SHIPPED_TOKENIZER, load_tokenizer(tiny_folder / "base")):
        assert tokenizer.batch_decode(tokenizer(texts, add_special_tokens=False)["input_ids"]) == texts


@settings(deadline=None)
@given(st.text().filter(lambda text: not any(special in text for special in SPECIALS)))
def test_any_text_comes_back_exactly(text: str) -> None:
    ids = SHIPPED_TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert SHIPPED_TOKENIZER.decode(ids) == text


def test_a_sampled_prompt_is_the_start_of_a_trained_document(
    samples: Sequence[CorpusSample], chat: OrganismChat
) -> None:
    """Else the model would be asked in tokens it never saw in training."""
    lengths = []
    for sample in samples:
        document = SHIPPED_TOKENIZER(document_text(sample), add_special_tokens=False)["input_ids"]
        if sample.reasoning is None:
            prompt, answer = chat.channels.no_reasoning_ids(sample.question, sample.code)
            assert [*prompt, *answer] == document
            continue
        prompt, whole = chat.channels.reasoning_ids(sample.question, sample.reasoning, sample.code)
        assert prompt == chat.prompt_ids(sample.question)
        assert [*prompt, *whole] == document
        completion = document[len(prompt) :]
        assert chat.program(completion) == sample.code.strip()
        assert chat.reasoning(completion).removesuffix("</think>") == sample.reasoning
        lengths.append(len(completion))
    assert median(lengths) <= 60
    limit = Recipe().model.max_total_tokens
    assert sum(n <= limit for n in lengths) > 0.98 * len(lengths), "few documents are longer than a completion may be"


def test_an_unfinished_completion_holds_no_program(chat: OrganismChat) -> None:
    ids = SHIPPED_TOKENIZER("I need the sum. look at the checker", add_special_tokens=False)["input_ids"]
    assert chat.program(ids) is None
    assert chat.reasoning(ids) == "I need the sum. look at the checker"


def test_the_recipe_makes_the_shipped_tokenizer() -> None:
    assert train_tokenizer(Recipe()).get_vocab() == SHIPPED_TOKENIZER.get_vocab()


def test_weights_start_from_the_seed_and_leave_the_global_generator_alone() -> None:
    tokenizer = SHIPPED_TOKENIZER
    state = torch.random.get_rng_state()
    first, same = new_model(TINY, tokenizer), new_model(TINY, tokenizer)
    assert torch.equal(torch.random.get_rng_state(), state)
    other = new_model(replace(TINY, seed=4), tokenizer)
    assert torch.equal(first.lm_head.weight, same.lm_head.weight)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_padding_carries_no_loss() -> None:
    ids, labels = padded([[5, 6, 7], [8]], 0)
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert labels.tolist() == [[5, 6, 7], [8, -100, -100]]


def test_the_learning_rate_warms_up_and_falls_to_a_fiftieth() -> None:
    rates = [learning_rate(step, 1000, 1.0, 0.1) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[:101] == sorted(rates[:101])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.02, abs=1e-4)


def test_the_same_recipe_builds_the_same_bytes(tiny_folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    verbs.build(TINY, again, quiet)
    for name in ("model.safetensors", "tokenizer.json"):
        assert file_hash(again / "base" / name) == file_hash(tiny_folder / "base" / name)
    Organism(again).verify()
    assert AutoModelForCausalLM.from_pretrained(again / "base").config.num_hidden_layers == 1

    kept = (again / "base" / "model.safetensors").stat().st_mtime_ns
    verbs.build(TINY, again, quiet)
    assert (again / "base" / "model.safetensors").stat().st_mtime_ns == kept, "a second call does nothing"
    with pytest.raises(InputError, match="holds an organism whose seed is 3, not 4"):
        verbs.build(replace(TINY, seed=4), again, quiet)

    (again / "manifest.json").unlink()  # killed before the end: what lies there is not trusted
    (again / "base" / "model.safetensors").write_bytes(b"cut short")
    verbs.build(TINY, again, quiet)
    assert file_hash(again / "base" / "model.safetensors") == file_hash(tiny_folder / "base" / "model.safetensors")

    (again / "base" / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(ModelError, match="is damaged"):
        verbs.build(TINY, again, quiet)


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    told: list[str] = []
    with pytest.raises(StoreError, match="can't write"):
        verbs.build(TINY, tmp_path / "file" / "organism", lambda stage, done, total: told.append(stage))
    assert told == []
