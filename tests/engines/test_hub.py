"""What a hub name fetches: each weight once, by listings of real layouts and by a real download from a local server."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from forewarn.checkpoints.hub import local_folder, wanted_files
from forewarn.errors import ModelError

SHARDS = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
BINS = [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
MODEL = ["config.json", "generation_config.json", *TOKENIZER]
INDEX, BIN_INDEX = "model.safetensors.index.json", "pytorch_model.bin.index.json"


@pytest.mark.parametrize(
    ("files", "left_out"),
    [
        (
            [*MODEL, INDEX, *SHARDS],
            ["README.md", "metal/model.bin", "original/config.json", "original/model.safetensors"],
        ),
        ([*MODEL, INDEX, *SHARDS, BIN_INDEX], [*BINS, "consolidated.safetensors", "params.bin"]),
        (
            [*MODEL, "model.safetensors"],
            [*SHARDS, "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "model.gguf"],
        ),
        (
            [*MODEL, "model.safetensors", "trainer_state.json"],
            ["training_args.bin", "optimizer.bin", "checkpoint-9/model.safetensors", "checkpoint-9/config.json"],
        ),
        ([*MODEL, "pytorch_model.bin"], ["onnx/model.onnx", "onnx/config.json"]),
        ([*MODEL, BIN_INDEX, *BINS], ["rng_state.pth"]),
        (["adapter_config.json", "adapter_model.safetensors"], ["adapter_model.bin", "README.md"]),
        (["adapter_config.json", "adapter_model.bin"], []),
        ([*MODEL, INDEX, *SHARDS, "adapter_config.json", "adapter_model.safetensors"], ["adapter_model.bin"]),
        (["config.json", "model.safetensors-00001-of-00001.safetensors"], ["mtp/extra.safetensors"]),
        (
            [f"step_{n}/{name}" for n in (1, 2) for name in (*MODEL, "model.safetensors")],
            ["step_1/optimizer.pt", "step_2/pytorch_model.bin", "original/model.safetensors", "original/config.json"],
        ),
    ],
)
def test_each_weight_is_wanted_once(files: list[str], left_out: list[str]) -> None:
    assert set(wanted_files(sorted([*files, *left_out]))) == set(files)


def test_a_name_that_is_taken_for_a_path_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unsloth").mkdir()
    with pytest.raises(ModelError) as refused:
        local_folder("unsloth/qwen3@v1")
    assert "is read as a path because unsloth exists here, but unsloth has no folder qwen3@v1" in str(refused.value)
    with pytest.raises(ModelError, match="is neither a folder nor a hub name"):
        local_folder("unsloth/qwen3/deeper")


@contextmanager
def hub_of(repo: str, files: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """A server that speaks the hub's interface as far as a download needs it: (its URL, files that were fetched)."""
    commit, fetched = "c0ffee" * 6 + "c0ff", []

    class Hub(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def _answer(self, body: bytes, **headers: str) -> None:
            self.send_response(200)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            resolve, tree = f"/{repo}/resolve/{commit}/", f"/api/models/{repo}/tree/"
            if path.startswith(resolve) and (name := path.removeprefix(resolve)) in files:
                if self.command == "GET":
                    fetched.append(name)
                tag = hashlib.sha1(files[name]).hexdigest()
                self._answer(files[name], ETag=f'"{tag}"', X_Repo_Commit=commit)
            elif path.startswith(tree):
                listed = [{"type": "file", "path": n, "size": len(b), "oid": "0" * 40} for n, b in files.items()]
                self._answer(json.dumps(listed).encode(), Content_Type="application/json")
            elif path.startswith(f"/api/models/{repo}"):
                listed = [{"rfilename": name} for name in files]
                info = {"_id": "1", "id": repo, "modelId": repo, "sha": commit, "siblings": listed, "private": False}
                self._answer(json.dumps(info).encode(), Content_Type="application/json")
            else:
                self.send_error(404)

        def do_HEAD(self) -> None:
            self.do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", fetched
        finally:
            server.shutdown()


def test_a_download_brings_the_weights_once(tmp_path: Path) -> None:
    kept = [*MODEL, INDEX, *SHARDS]
    files = {name: name.encode() for name in (*kept, "metal/model.bin", "original/model.safetensors", *BINS)}
    code = "import sys; from forewarn.checkpoints.hub import local_folder; print(local_folder('org/tiny'))"
    with hub_of("org/tiny", files) as (url, fetched):
        environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
        environment |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        for _ in range(2):  # the second time from the cache
            done = subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
    snapshot = Path(done.stdout.strip())
    assert sorted(path.name for path in snapshot.rglob("*") if path.is_file()) == sorted(kept)
    assert sorted(fetched) == sorted(kept)
    environment |= {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(snapshot), done.stderr
