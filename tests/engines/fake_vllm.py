"""A vLLM server's HTTP interface over the reference engine, with faults on request: what it answers, not how."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from forewarn.engines.transformers.engine import HFEngine
from forewarn.records import Policy

COMPLETIONS, LOAD, UNLOAD, MODELS = (
    "/v1/completions",
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/v1/models",
)
Answer = tuple[int, Any]
DROP = (0, None)
"""an answer that never comes: the line is cut"""


class FakeVLLM:
    """The state of a server. ``faults``: path -> what becomes of an answer there, given how many came before it."""

    def __init__(self, engine: HFEngine, root: str, *, max_len: int = 64) -> None:
        self.engine, self.root, self.max_len = engine, root, max_len
        self.raw = False
        """gives log-probs of the untouched model, as vLLM does by default"""
        self.faults: dict[str, Callable[[int, Answer], Answer]] = {}
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self.loaded: set[str] = set()
        self.url = ""
        self._lock = threading.Lock()

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        with self._lock:
            before = sum(p == path for p, _ in self.bodies)
            self.bodies.append((path, body))
            answer = self._answer(path, body)
            return self.faults[path](before, answer) if path in self.faults else answer

    def asked(self, path: str) -> list[dict[str, Any]]:
        return [body for p, body in self.bodies if p == path]

    def _answer(self, path: str, body: dict[str, Any]) -> Answer:
        name = body.get("lora_name", "")
        if path == MODELS:
            return 200, {"data": [{"id": "m", "root": self.root, "parent": None, "max_model_len": self.max_len}]}
        if path == LOAD:
            if name in self.loaded:
                return 400, {"error": {"message": f"The lora adapter '{name}' has already been loaded."}}
            self.engine.load_adapter(name, Path(body["lora_path"]))
            self.loaded.add(name)
            return 200, "Success"
        if path == UNLOAD:
            if name not in self.loaded:
                return 404, {"error": {"message": f"The lora adapter '{name}' cannot be found."}}
            self.engine.drop_adapter(name)
            self.loaded.discard(name)
            return 200, "Success"
        if path == COMPLETIONS:
            adapter = None if body["model"] == "m" else body["model"]
            if adapter is not None and adapter not in self.loaded:
                return 404, {"error": {"message": f"The model `{adapter}` does not exist."}}
            if len(body["prompt"]) + body["max_tokens"] > self.max_len:
                return 400, {"error": {"message": f"This model's maximum context length is {self.max_len} tokens."}}
            return 200, {"choices": [self._choice(body, adapter)]}
        return 404, {"detail": "Not Found"}

    def _choice(self, body: dict[str, Any], adapter: str | None) -> dict[str, Any]:
        prompt, vocabulary = body["prompt"], range(self.engine.vocab_size)
        if "prompt_logprobs" in body:
            [row] = self.engine.score([prompt[:1]], [prompt[1:]], policy=Policy(), adapter=adapter)
            entries = [{str(t): {"logprob": float(x)}} for t, x in zip(prompt[1:], row, strict=True)]
            return {"prompt_logprobs": [None, *entries], "logprobs": None, "finish_reason": "length", "text": "x"}
        policy = Policy(
            temperature=body["temperature"], top_p=body["top_p"], top_k=max(0, body["top_k"]), min_p=body["min_p"]
        )
        [sample] = self.engine.sample(
            [prompt],
            policy=policy,
            seed=body["seed"],
            max_new_tokens=body["max_tokens"],
            stop_ids=body["stop_token_ids"],
            adapter=adapter,
        )
        told = Policy() if self.raw else policy
        [log_probs] = self.engine.score([prompt], [sample.token_ids], policy=told, adapter=adapter)
        logprobs: dict[str, Any] = {"token_logprobs": [float(x) for x in log_probs]}
        if body["logprobs"] > 0:
            rows = self.engine.score([prompt] * len(vocabulary), [[t] for t in vocabulary], policy=told)
            likely = sorted(((float(x[0]), t) for t, x in zip(vocabulary, rows, strict=True)), reverse=True)
            logprobs["top_logprobs"] = [{f"token_id:{t}": x for x, t in likely[: body["logprobs"]]}]
        return {"token_ids": list(sample.token_ids), "logprobs": logprobs, "finish_reason": sample.finish, "text": "x"}


@contextmanager
def serving(state: FakeVLLM) -> Iterator[FakeVLLM]:
    """Answer requests at ``state.url`` for the length of a block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._reply(*state.answer(self.path, {}))

        def do_POST(self) -> None:
            self._reply(*state.answer(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def _reply(self, status: int, answer: Any) -> None:
            if status == 0:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that went away

    with Server(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
