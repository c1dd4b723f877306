"""Starting a vLLM server with the settings that exact densities need, and stopping it.

Runs vLLM's own server program of this Python environment. Not here: talking to it (``vllm_server.py``).
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
    """How a server is started."""

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
    """most rows decoded together"""
    kv_cache_gib: int = 2
    """memory for keys and values, on a CPU"""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


def serve_command(settings: ServeSettings) -> list[str]:
    """The command line of vLLM's server. Raises MissingExtraError without vLLM, InputError for a port out of range."""
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
        # what the densities hang on: log-probs of the policy, no stop tokens of the model's own, no cached prompts
        *("--logprobs-mode", LOGPROBS_MODE, "--generation-config", "vllm", "--no-enable-prefix-caching"),
        "--no-enable-log-requests",
    ]
    if not torch.cuda.is_available():
        # a prompt cut in two breaks seeded sampling on CPUs: torch's generators there can't be turned back
        command.append("--no-enable-chunked-prefill")
    return command if settings.max_len is None else [*command, "--max-model-len", str(settings.max_len)]


def serve_environment(settings: ServeSettings) -> dict[str, str]:
    """The environment it needs beside the caller's: adapters may come and go while it runs."""
    return {
        **os.environ,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", str(settings.kv_cache_gib)),
    }


class Server:
    """A server of our own for a ``with`` block: started, waited for, stopped with all its processes."""

    def __init__(self, settings: ServeSettings, *, log: Path, start_s: float = 300.0) -> None:
        """``log``: file for what it prints. ``start_s``: how long it may take to come up."""
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
        raise EngineFault(f"the vLLM server did not come up in {self._start_s:g} s; its log is {self._log}")

    def stop(self) -> None:
        """End it and every process it started."""
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
    """InputError where something listens on the port already, or the host is no address."""
    try:
        socket.create_connection((settings.host, settings.port), timeout=2).close()
    except (socket.gaierror, UnicodeError) as error:
        raise InputError(
            f"host {settings.host!r} is no address ({error}): give one of this machine, such as 127.0.0.1"
        ) from None
    except OSError:
        return
    raise InputError(f"port {settings.port} of {settings.host} is taken; give another with --port")
