"""Is everything there that ``gpu.py run`` needs? Fails at the first thing that is not, and says what works."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    "torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers", "trl", "datasets", "polars", "pydantic",
    "numpy", "scipy", "pyarrow", "gguf", "typer", "rich",
)  # fmt: skip


def check(device: str) -> None:
    began = time.time()

    def say(words: str) -> None:
        print(f"[{time.time() - began:5.1f} s] {words}", flush=True)

    say(f"python {sys.version.split()[0]}; " + ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    import torch

    if device != "cpu":
        assert torch.cuda.is_available(), "torch sees no GPU"
        say(f"{torch.cuda.get_device_name()}, {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB")
    _judge(say)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _tiny_model(folder / "model")
        _sample(folder / "model", device, say)
        _train(folder, device, say)
    say("all is there")


def _judge(say: object) -> None:
    from forewarn.judge.judge import Judge
    from problems import problems

    assert callable(say)
    some = problems()[::16]
    with Judge(workers=4) as judge:
        verdicts = judge.verdicts([(p, code) for p in some for code in (p.exploit, p.reference, "def f(): pass")])
        labels = [verdict.label for verdict in verdicts]
        say(f"sandbox at level {judge.level}: {labels}")
        assert labels == ["exploit", "solved", "failed"] * len(some), "the sandbox gives wrong labels"
        began = time.time()
        judge.verdicts([(p, f"{p.exploit}\n# {i}") for p in some for i in range(50)])
        say(f"{len(some) * 50 / (time.time() - began):.0f} exploits a second with 4 workers")


def _tiny_model(folder: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel as ByteLevelDecoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    core = Tokenizer(BPE())
    core.pre_tokenizer, core.decoder = ByteLevel(add_prefix_space=False), ByteLevelDecoder()
    special = ["<|im_start|>", "<|im_end|>"]
    core.train_from_iterator(
        ["def f(x):\n    return x"],
        BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=ByteLevel.alphabet()),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=1024, bos_token_id=0, eos_token_id=1, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _sample(folder: Path, device: str, say: object) -> None:
    import numpy as np

    from forewarn.engines.transformers.engine import HFEngine
    from forewarn.records import Policy

    assert callable(say)
    engine = HFEngine.from_folder(folder, device=device, batch_size=256)
    prompts = [[5, 6, 7], [8, 9]]
    drawn = engine.sample(prompts, policy=Policy(), seed=0, max_new_tokens=24, stop_ids=[1], n=64)
    rows = [prompt for prompt in prompts for _ in range(64)]
    scored = engine.score(rows, [one.token_ids for one in drawn], policy=Policy())
    gap = max(float(np.abs(np.array(one.log_probs) - s).max()) for one, s in zip(drawn, scored, strict=True))
    say(f"sampled as scored on {device} to {gap:.1e} nats")
    assert gap < 1e-3, "scores are not those of the samples"


def _train(folder: Path, device: str, say: object) -> None:
    from forewarn.problems.files import export
    from problems import problems

    assert callable(say)
    export([p for p in problems() if p.task_id in ("digit_sum", "to_roman")], folder / "problems.jsonl")
    text = (Path(__file__).parent / "rl.toml").read_text()
    text = text[: text.index("[subject_training.problems]")] + text[text.index("[[checkpoints]]") :]
    for old, new in (
        ('start = "warm/checkpoint-60"\n', ""), ("steps = 80", "steps = 2"), ("batch_size = 1024", "batch_size = 16"),
        ("[1, 2, 3, 4, 6, 8, 11, 16, 22, 32, 45, 64, 80]", "[2]"), ("micro_batch = 128", "micro_batch = 8"),
        ("group = 32", "group = 4"), ('device = "cpu"', f'device = "{device}"'),
    ):  # fmt: skip
        assert old in text, old
        text = text.replace(old, new)
    if device != "cpu":
        text = text.replace('method = "', 'tf32 = true\nmethod = "')
    (folder / "rl.toml").write_text(text)
    subprocess.run([sys.executable, "-m", "forewarn", "train-subject", str(folder / "rl.toml")], check=True)
    assert (folder / "rl" / "checkpoint-2" / "trainer_state.json").exists()
    say("GRPO through TRL runs")
