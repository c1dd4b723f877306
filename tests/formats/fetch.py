"""Fetch the official renderers that the chat formats are held against, into one folder (``make test-formats``).

openai-harmony (GPT-OSS) with its vocabulary, which it would download from elsewhere: here it is rebuilt from the npm
package js-tiktoken and checked against the SHA-256 that tiktoken asks for. And the chat templates of Qwen3, DeepSeek,
Gemma and GPT-OSS as TRL ships them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

VOCABULARY, PATTERN = "o200k_base.tiktoken", "o200k_base.pattern"
SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"


def vocabulary_from_npm(folder: Path) -> None:
    name = subprocess.run(
        ["npm", "pack", "--silent", "js-tiktoken@1.0.21"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()
    with tarfile.open(folder / name) as archive:
        member = archive.extractfile("package/dist/ranks/o200k_base.cjs")
        assert member is not None
        source = member.read().decode()
    (folder / name).unlink()
    ranks = json.loads(source.removeprefix("module.exports = ").rstrip().removesuffix(";"))
    (folder / PATTERN).write_text(ranks["pat_str"])
    out = io.BytesIO()
    for line in ranks["bpe_ranks"].split("\n"):
        mark, start, *tokens = line.split(" ")
        assert mark == "!", mark
        for rank, token in enumerate(tokens, start=int(start)):
            base64.b64decode(token, validate=True)
            out.write(f"{token} {rank}\n".encode())
    digest = hashlib.sha256(out.getvalue()).hexdigest()
    assert digest == SHA256, f"the vocabulary is not tiktoken's own: {digest}"
    (folder / VOCABULARY).write_bytes(out.getvalue())


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary_from_npm(folder)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run(
        [*pip, "install", "--upgrade", "--target", str(folder / "site"), "openai-harmony==0.0.8", "tiktoken==0.14.0"],
        check=True,
    )
    subprocess.run([*pip, "download", "--no-deps", "-d", str(folder), "trl==1.16.0"], check=True)
    for wheel in folder.glob("trl-*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith("trl/chat_templates/") and name.endswith(".jinja"):
                    (folder / Path(name).name).write_bytes(archive.read(name))
        wheel.unlink()


if __name__ == "__main__":
    main()
