"""For each sink, something real to post to and a way to read back what got there: files, databases, a server."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from forewarn.monitor.sinks.jsonl import read_alerts

# it is read when trackio is imported
TRACKIO = os.environ.setdefault("TRACKIO_DIR", tempfile.mkdtemp(prefix="forewarn-trackio-"))


@dataclass
class Got:
    """What arrived, in order; None: this sink doesn't keep that."""

    steps: list[int]
    texts: list[str]
    probabilities: list[float] | None = None


@dataclass
class Probe:
    place: str
    read: Callable[[], Got]


Starter = Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[Probe]]


@dataclass
class Server:
    """A loopback HTTP server. ``answers``: (status, headers) of the first requests; afterwards 200."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    hang: threading.Event | None = None
    """wait for it before any answer"""
    n_requests: int = 0


@contextmanager
def web_server(state: Server) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.n_requests += 1
            if state.hang is not None:
                state.hang.wait(60)
            status, headers = state.answers.pop(0) if state.answers else (200, {})
            if status == 200:
                state.bodies.append(body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that went away

    with Quiet(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}/hook/SECRET"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            if state.hang is not None:
                state.hang.set()
            server.shutdown()
            thread.join()


@contextmanager
def console(_: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Probe]:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)

    def read() -> Got:
        text = stream.getvalue()
        return Got([int(step) for step in re.findall(r"at step (\d+)\n", text)], text.split("\nforewarn: "))

    yield Probe("", read)


@contextmanager
def jsonl(folder: Path, _: pytest.MonkeyPatch) -> Iterator[Probe]:
    path = folder / "deeper" / "mine.jsonl"

    def read() -> Got:
        alerts = read_alerts(path)
        texts = ["\n".join([one.message, *one.evidence, *one.not_looked_at, one.command]) for one in alerts]
        return Got([one.step for one in alerts], texts, [one.probability or 0.0 for one in alerts])

    yield Probe(str(path), read)


@contextmanager
def webhook(_: Path, __: pytest.MonkeyPatch) -> Iterator[Probe]:
    with web_server(Server()) as state:

        def read() -> Got:
            return Got(
                [body["step"] for body in state.bodies],
                [json.dumps(body) for body in state.bodies],
                [body["probability"] for body in state.bodies],
            )

        yield Probe(state.url, read)


@contextmanager
def tensorboard(folder: Path, _: pytest.MonkeyPatch) -> Iterator[Probe]:
    def read() -> Got:
        from tensorboardX.proto import event_pb2

        [path] = (folder / "tb").glob("events*")
        data, got, at = path.read_bytes(), Got([], [], []), 0
        while at < len(data):  # a length and its check, the event, its check
            (size,) = struct.unpack("<Q", data[at : at + 8])
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
            at += 16 + size
            for value in event.summary.value:
                if value.tag.endswith("/probability"):
                    assert got.probabilities is not None
                    got.probabilities.append(value.simple_value)
                    got.steps.append(event.step)
                elif value.HasField("tensor"):
                    got.texts.append(value.tensor.string_val[0].decode())
        return got

    yield Probe(str(folder / "tb"), read)


@contextmanager
def wandb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Probe]:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(folder))

    def read() -> Got:
        [path] = folder.rglob("run-*.wandb")
        got = Got([], [], [])
        end = time.monotonic() + 30
        while len(got.steps) < 3 and time.monotonic() < end:  # its own process writes, a moment later
            time.sleep(0.2)
            got = _wandb_records(path)
        return got

    yield Probe("forewarn-test", read)


def _wandb_records(path: Path) -> Got:
    from wandb.proto import wandb_internal_pb2

    got = Got([], [], [])
    for data in _leveldb_log(path.read_bytes(), header=7):
        record = wandb_internal_pb2.Record.FromString(data)
        for item in record.history.item:
            key = item.key or "/".join(item.nested_key)
            if key == "forewarn/step":
                got.steps.append(json.loads(item.value_json))
            elif key.endswith("/probability"):
                assert got.probabilities is not None
                got.probabilities.append(json.loads(item.value_json))
        if record.HasField("alert"):
            got.texts.append(record.alert.text)
    return got


def _leveldb_log(data: bytes, header: int) -> Iterator[bytes]:
    """The records of a log in LevelDB's format: blocks of 32 KiB, each chunk a check, a length and a type."""
    at, record = header, b""
    while at + 7 <= len(data):
        room = 32768 - at % 32768
        if room < 7:
            at += room
            continue
        size, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        record += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last of several chunks
            yield record
            record = b""


@contextmanager
def trackio(_: Path, __: pytest.MonkeyPatch) -> Iterator[Probe]:
    project = f"project-{time.monotonic_ns()}"

    def read() -> Got:
        with sqlite3.connect(Path(TRACKIO) / f"{project}.db") as connection:
            metrics = connection.execute("select step, metrics from metrics order by id").fetchall()
            alerts = connection.execute("select text from alerts order by id").fetchall()
        values = [json.loads(data) for _, data in metrics]
        found = [next(v for k, v in row.items() if k.endswith("/probability")) for row in values]
        return Got([step for step, _ in metrics], [text for (text,) in alerts], found)

    yield Probe(project, read)


@contextmanager
def mlflow(folder: Path, _: pytest.MonkeyPatch) -> Iterator[Probe]:
    uri = f"sqlite:///{folder}/mlflow.db"

    def read() -> Got:
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name("forewarn")
        assert experiment is not None
        [run] = client.search_runs([experiment.experiment_id])
        assert run.info.status == "FINISHED"
        [name] = [name for name in run.data.metrics if name.endswith("/probability")]
        history = sorted(client.get_metric_history(run.info.run_id, name), key=lambda one: one.timestamp)
        tags = [value for key, value in run.data.tags.items() if key.startswith("forewarn.")]
        return Got([one.step for one in history], tags, [one.value for one in history])

    yield Probe(uri, read)


PROBES: dict[str, Starter] = {
    "console": console,
    "jsonl": jsonl,
    "webhook": webhook,
    "tensorboard": tensorboard,
    "wandb": wandb,
    "trackio": trackio,
    "mlflow": mlflow,
}
"""sink -> what starts something for it to post to"""
