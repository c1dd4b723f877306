"""Trainers' ways of writing a checkpoint, file by file, as their own code does it: half-written states in between.

A writer is a generator: it yields False while the checkpoint of a step is half-written and True once it is whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import save

Writer = Callable[[Path, int], Iterator[bool]]


def tensors(seed: int) -> bytes:
    return save({"w": np.full((16, 16), float(seed), dtype=np.float32)})


def put(path: Path, content: bytes | str = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def put_slowly(path: Path, content: bytes) -> Iterator[bool]:
    """A large file while it is written: first a part of it."""
    put(path, content[:40])
    yield False
    put(path, content)
    yield False


def settings(folder: Path) -> None:
    put(folder / "config.json", json.dumps({"model_type": "qwen3"}))
    put(folder / "generation_config.json", "{}")


def tokenizer(folder: Path) -> None:
    put(folder / "tokenizer_config.json", "{}")
    put(folder / "tokenizer.json", json.dumps({"model": {}}))


def sharded(folder: Path, step: int) -> Iterator[bool]:
    """As ``save_pretrained`` writes a model: settings, shards one by one, the index."""
    settings(folder)
    yield False
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for name in names:
        yield from put_slowly(folder / name, tensors(step))
    put(folder / "model.safetensors.index.json", json.dumps({"weight_map": dict(zip("ab", names, strict=True))}))


def adapter(folder: Path, step: int) -> Iterator[bool]:
    yield from put_slowly(folder / "adapter_model.safetensors", tensors(step))
    put(folder / "adapter_config.json", json.dumps({"peft_type": "LORA", "r": 2}))


def trl(run: Path, step: int) -> Iterator[bool]:
    folder = run / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    yield False
    yield from sharded(folder, step)
    tokenizer(folder)
    put(folder / "optimizer.pt")
    yield False
    state = json.dumps({"global_step": step, "log_history": []})
    put(folder / "trainer_state.json", state[:10])
    yield False
    put(folder / "trainer_state.json", state)
    yield True


def openrlhf(run: Path, step: int) -> Iterator[bool]:
    put(run / "_actor" / f"global_step{step}" / "mp_rank_00_model_states.pt")
    folder = run / f"global_step{step}_hf"
    yield from sharded(folder, step)
    yield False
    put(folder / "tokenizer_config.json", "{}")
    yield False
    put(folder / "tokenizer.json", '{"mod')
    yield False
    tokenizer(folder)
    yield True


def verl_fsdp(run: Path, step: int) -> Iterator[bool]:
    actor = run / f"global_step_{step}" / "actor"
    for rank in range(2):
        put(actor / f"model_world_size_2_rank_{rank}.pt")
        yield False
    tokenizer(actor / "huggingface")
    yield from sharded(actor / "huggingface", step)
    yield False
    put(run / f"global_step_{step}" / "critic" / "model_world_size_2_rank_0.pt")
    put(run / f"global_step_{step}" / "data.pt")
    yield False
    put(run / "latest_checkpointed_iteration.txt", str(step))
    yield True


def verl_megatron(run: Path, step: int) -> Iterator[bool]:
    actor = run / f"global_step_{step}" / "actor"
    (actor / "model" / "huggingface").mkdir(parents=True)  # made when its path is asked for
    yield False
    put(actor / "model" / "dist_ckpt" / "__0_0.distcp")
    yield False
    yield from sharded(actor / "model" / "huggingface", step)
    tokenizer(actor / "model" / "huggingface")
    put(actor / "optimizer" / "dist_ckpt" / "__0_0.distcp")
    yield False
    put(actor / "ckpt_contents.json", json.dumps({"global_step": step}))
    yield True


def skyrl_export(run: Path, step: int) -> Iterator[bool]:
    policy = run / f"global_step_{step}" / "policy"
    policy.mkdir(parents=True)
    yield False
    yield from sharded(policy, step)
    yield False
    tokenizer(policy)
    yield True


def skyrl_shards(run: Path, step: int) -> Iterator[bool]:
    policy = run / f"global_step_{step}" / "policy"
    for rank in range(2):
        put(policy / f"model_world_size_2_rank_{rank}.pt")
        yield False
    tokenizer(policy / "huggingface")
    settings(policy / "huggingface")
    put(run / f"global_step_{step}" / "trainer_state.pt")
    yield False
    put(run / "latest_ckpt_global_step.txt", str(step))
    yield True


def prime_rl(run: Path, step: int) -> Iterator[bool]:
    folder = run / "broadcasts" / f"step_{step}"
    yield from sharded(folder, step)
    tokenizer(folder)
    yield False
    put(folder / "STABLE", "")
    yield True


def prime_rl_nccl(run: Path, step: int) -> Iterator[bool]:
    """Its transport leaves the sign and no weights: that is never a checkpoint."""
    put(run / "broadcasts" / f"step_{step}" / "STABLE", "")
    yield False


def prime_rl_dcp(run: Path, step: int) -> Iterator[bool]:
    trainer = run / "checkpoints" / f"step_{step}" / "trainer"
    put(trainer / "__0_0.distcp")
    yield False
    put(trainer / ".metadata")
    yield True


def open_instruct(run: Path, step: int) -> Iterator[bool]:
    folder = run / "olmo_checkpoints" / f"step_{step}"
    yield from sharded(folder, step)
    tokenizer(folder)
    yield False
    put(folder / ".checkpoint_complete", "")
    yield True


def nemo_rl(run: Path, step: int) -> Iterator[bool]:
    unfinished = run / f"tmp_step_{step}"
    put(unfinished / "training_info.json", "{}")
    put(unfinished / "config.yaml")
    yield False
    put(unfinished / "policy" / "weights" / "__0_0.distcp")
    put(unfinished / "policy" / "weights" / ".metadata")
    yield False
    unfinished.rename(run / f"step_{step}")
    yield True


def nemo_rl_consolidated(run: Path, step: int) -> Iterator[bool]:
    unfinished = run / f"tmp_step_{step}"
    yield from sharded(unfinished / "policy" / "weights" / "model" / "consolidated", step)
    yield False
    unfinished.rename(run / f"step_{step}")
    yield True


def torchtune(run: Path, step: int) -> Iterator[bool]:
    """The index before the shards; then what it copies of the base."""
    folder = run / f"epoch_{step}"
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    put(folder / "model.safetensors.index.json", json.dumps({"weight_map": dict(zip("ab", names, strict=True))}))
    for name in names:
        yield from put_slowly(folder / name, tensors(step))
    settings(folder)
    tokenizer(folder)
    yield True


def torchtune_dcp(run: Path, step: int) -> Iterator[bool]:
    put(run / f"dist_epoch_{step}" / "__0_0.distcp")
    yield False
    put(run / f"dist_epoch_{step}" / ".metadata")
    yield True


def tinker(run: Path, step: int) -> Iterator[bool]:
    entry = {"name": f"{step:06d}", "batch": step, "sampler_path": f"tinker://run/sampler_weights/{step:06d}"}
    line = json.dumps(entry) + "\n"
    path = run / "checkpoints.jsonl"
    before = path.read_text() if path.exists() else ""
    put(path, before + line[:30])
    yield False
    put(path, before + line[:-1])
    yield False
    put(path, before + line)
    yield True


def plain(run: Path, step: int) -> Iterator[bool]:
    """A script that saves an adapter by ``save_pretrained``: no sign at all."""
    folder = run / f"step-{step:04d}"
    folder.mkdir(parents=True)
    yield False
    yield from adapter(folder, step)
    yield True


TRAINERS: dict[str, tuple[str, Writer]] = {
    "trl": ("trl", trl),
    "openrlhf": ("openrlhf", openrlhf),
    "verl, FSDP": ("verl-fsdp", verl_fsdp),
    "verl, Megatron": ("verl-megatron", verl_megatron),
    "SkyRL, export": ("skyrl", skyrl_export),
    "SkyRL, shards": ("skyrl", skyrl_shards),
    "prime-rl": ("prime-rl", prime_rl),
    "prime-rl, NCCL": ("prime-rl", prime_rl_nccl),
    "prime-rl, DCP": ("prime-rl-dcp", prime_rl_dcp),
    "open-instruct": ("open-instruct", open_instruct),
    "NeMo-RL": ("nemo-rl", nemo_rl),
    "NeMo-RL, consolidated": ("nemo-rl", nemo_rl_consolidated),
    "torchtune": ("torchtune", torchtune),
    "torchtune, DCP": ("torchtune-dcp", torchtune_dcp),
    "tinker-cookbook": ("tinker-cookbook", tinker),
    "plain": ("plain", plain),
}
"""a trainer, perhaps with the setting that matters -> the key of its layout, and how it writes"""


def write(run: Path, trainer: str, step: int) -> None:
    """Write one checkpoint to its end."""
    for _ in TRAINERS[trainer][1](run, step):
        pass


def prune(folder: Path) -> None:
    shutil.rmtree(folder)
