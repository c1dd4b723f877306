"""Starting a vLLM server with the settings that exact densities need, and stopping it.

Runs vLLM's own server program in this Python environment. Not here: talking to it (``server.py``).
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx2
import torch

from forewarn.engines.vllm.adapters import LORA_MODULES
from forewarn.engines.vllm.requests import LOGPROBS_MODE, MAX_LORA_RANK
from forewarn.errors import EngineFault, InputError, MissingExtraError


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """The settings with which a server is started."""

    model: str
    """a folder or hub name"""
    host: str = "127.0.0.1"
    port: int = 8000
    dtype: str = "float32"
    max_len: int | None = None
    """longest row, prompt and completion (tokens); None: the model's own"""
    max_lora_rank: int = MAX_LORA_RANK
    max_loras: int = 8
    """adapters used at one time"""
    batch_size: int = 256
    """maximum number of rows decoded together"""
    kv_cache_gib: int = 2
    """memory for keys and values, on a CPU"""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


def serve_command(settings: ServeSettings) -> list[str]:
    """Return the command line of vLLM's server. Raises MissingExtraError without vLLM, InputError for a bad port."""
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtraError("vllm", "vllm")
    if not 0 < settings.port < 65536:
        raise InputError(f"port is {settings.port}: give a number from 1 to 65535")
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", settings.model, "--host", settings.host, "--port", str(settings.port)),
        *("--dtype", settings.dtype, "--enforce-eager", "--max-num-seqs", str(settings.batch_size)),
        *("--enable-lora", "--max-loras", str(settings.max_loras), "--max-lora-rank", str(settings.max_lora_rank)),
        *("--lora-target-modules", *LORA_MODULES),
        # the densities depend on these: log-probs of the policy, without the model's own stop tokens or cached prompts
        *("--logprobs-mode", LOGPROBS_MODE, "--generation-config", "vllm", "--no-enable-prefix-caching"),
        "--no-enable-log-requests",
    ]
    if not torch.cuda.is_available():
        # chunked prompts break seeded sampling on CPUs, where torch's generators can't be rewound
        command.append("--no-enable-chunked-prefill")
    return command if settings.max_len is None else [*command, "--max-model-len", str(settings.max_len)]


def serve_environment(settings: ServeSettings) -> dict[str, str]:
    """Return its environment: the caller's, with adapters that can be loaded and dropped while it runs."""
    return {
        **os.environ,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", str(settings.kv_cache_gib)),
    }


class Server:
    """A server for a ``with`` block: started, waited for, and stopped with all its processes."""

    def __init__(self, settings: ServeSettings, *, log: Path, start_s: float = 300.0) -> None:
        """``log``: file for its output. ``start_s``: seconds that it may take to start."""
        self.settings = settings
        self._log, self._start_s = log, start_s
        self._process: subprocess.Popen[bytes] | None = None
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        command = serve_command(self.settings)
        check_port_free(self.settings)
        self._file = open(self._log, "wb")
        self._process = subprocess.Popen(
            command,
            env=serve_environment(self.settings),
            stdout=self._file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        up = False
        try:
            self._wait()
            up = True
        finally:
            if not up:
                self.stop()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self._start_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise EngineFault(
                    f"the vLLM server ended with status {self._process.returncode}; its log is {self._log}"
                )
            try:
                if httpx2.get(f"{self.settings.url}/health", timeout=5).status_code == 200:
                    return
            except httpx2.HTTPError:
                pass
            time.sleep(0.5)
        raise EngineFault(f"the vLLM server did not start within {self._start_s:g} s; its log is {self._log}")

    def stop(self) -> None:
        """Stop the server and every process that it started."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        if self._file is not None:
            self._file.close()
        self._process = self._file = None


def check_port_free(settings: ServeSettings) -> None:
    """Raise InputError if the port is already in use, or the host is not an address."""
    try:
        socket.create_connection((settings.host, settings.port), timeout=2).close()
    except (socket.gaierror, UnicodeError) as error:
        raise InputError(
            f"host {settings.host!r} is not an address ({error}): give one of this machine, such as 127.0.0.1"
        ) from None
    except OSError:
        return
    raise InputError(f"port {settings.port} of {settings.host} is taken; give another with --port")
