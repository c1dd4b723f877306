"""A report that follows a growing run: a server for this machine alone, which makes the page again when shards change.

The page asks for the version and puts what is new in place. Nothing is written into the run folder.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from forewarn.errors import ForewarnError, InputError
from forewarn.records import content_key
from forewarn.report.frames import check_cells, check_forecasts
from forewarn.report.from_run import run_report
from forewarn.report.page import page
from forewarn.report.write import whole_page
from forewarn.study import CellEstimate, RunResults, TypeForecast, read_results, run_forecasts
from forewarn.study.folder.manifest import MANIFEST_FILE, MISSING_FILE
from forewarn.study.folder.schemas import COMPLETIONS, SCORES, SUBMISSIONS, VERDICTS
from forewarn.study.results.forecasts import THRESHOLD, cells_by_run

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""hosts that a request may name; another name that leads here is not ours (DNS rebinding)"""
PORT = 8733
LOOK_S = 2.0
"""seconds between looks at the run folder"""


def fingerprint(root: Path) -> str:
    """Changes when a shard, the plan or the list of missing cells does."""
    found = []
    for stage in (COMPLETIONS, SUBMISSIONS, VERDICTS, SCORES):
        found += [(stage, path.name) for path in sorted((root / stage).glob("*.parquet")) if path.name[0] != "."]
    for name in (MANIFEST_FILE, MISSING_FILE):
        path = root / name
        found.append((name, str(path.stat().st_mtime_ns) if path.exists() else ""))
    return content_key(found)[:16]


@dataclass
class FollowedRun:
    """A run folder with the page of what it holds."""

    root: Path
    horizon_step: int | None = None
    threshold: float = THRESHOLD
    version: str = ""
    html: str = ""
    _forecasts: dict[tuple[str, str], tuple[tuple[CellEstimate, ...], list[TypeForecast]]] = field(default_factory=dict)

    def refresh(self) -> bool:
        """Make the page again if the folder has changed; whether it had. Raises ForewarnError for a folder that can't
        be read."""
        now = fingerprint(self.root)
        if now == self.version:
            return False
        self.html, self.version = self._page(read_results(self.root), now), now
        return True

    def _page(self, results: RunResults, version: str) -> str:
        commands = (f"forewarn report {self.root}",)
        if not results.estimates:
            lead = (f"None of the {len(results.cells)} planned cells is measured yet. This page fills as they finish.",)
            return page(f"Study {results.study}", lead, (), commands, version=version)
        made = run_report(results, self._said(results), horizon_step=self.horizon_step, threshold=self.threshold)
        return whole_page(
            check_cells(made.cells),
            check_forecasts(made.forecasts),
            title=made.title,
            commands=commands,
            lead=made.lead,
            advice=made.advice,
            sections=made.sections,
            version=version,
        )

    def _said(self, results: RunResults) -> list[TypeForecast]:
        """The forecasts; those of types without a new cell are kept from before. Where something is known of the
        training, the types of a run are forecast together, so a new cell changes all of them."""
        found = []
        groups: dict[tuple[str, str], list[CellEstimate]] = cells_by_run(results.estimates, results.study)
        if results.training is not None:
            together: dict[tuple[str, str], list[CellEstimate]] = {}
            for (run, _), cells in groups.items():
                together.setdefault((run, ""), []).extend(cells)
            groups = together
        for key, mine in groups.items():
            held = self._forecasts.get(key)
            if held is None or held[0] != tuple(mine):
                fresh = run_forecasts(
                    mine, study=results.study, seed=results.seed, horizon_step=self.horizon_step,
                    threshold=self.threshold, training=results.training,
                )  # fmt: skip
                held = self._forecasts[key] = (tuple(mine), fresh)
            found += held[1]
        return found


class PageServer(ThreadingHTTPServer):
    """Serves a followed run."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, followed: FollowedRun) -> None:
        self.followed = followed
        super().__init__((HOST, port), Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def follow(self, stop: threading.Event, tell: Callable[[str], None]) -> None:
        """Look at the folder until told to stop. What keeps it from being read is told once; the page stays."""
        trouble = ""
        while not stop.wait(LOOK_S):
            try:
                self.followed.refresh()
                trouble = ""
            except ForewarnError as error:  # a folder that is being moved, say: the next look may succeed
                if str(error) != trouble:
                    trouble = str(error)
                    tell(trouble)


class Handler(BaseHTTPRequestHandler):
    """Two pages: the report, and its version."""

    server: PageServer
    server_version = "forewarn"
    sys_version = ""
    timeout = 10

    def do_GET(self) -> None:
        if not self._ours():
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, "text/plain", "this server answers to 127.0.0.1 alone\n")
        elif self.path == "/":
            self._answer(HTTPStatus.OK, "text/html", self.server.followed.html)
        elif self.path == "/version":
            self._answer(HTTPStatus.OK, "text/plain", self.server.followed.version)
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", "there is one page here: /\n")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _ours(self) -> bool:
        hosts = self.headers.get_all("Host") or []
        port = self.server.server_port
        return len(hosts) == 1 and hosts[0].lower() in {f"{name}:{port}" for name in NAMES}

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """A page that asks every two seconds is not worth a log line."""


def serve(
    root: Path,
    *,
    port: int = PORT,
    horizon_step: int | None = None,
    threshold: float = THRESHOLD,
    tell: Callable[[str], None] = lambda trouble: None,
) -> tuple[PageServer, Sequence[threading.Thread], threading.Event]:
    """Start serving the run folder ``root`` and following it; port 0 takes a free one.

    ``tell`` gets one sentence where a later look at the folder fails. Raises InputError for a port that can't be had,
    and StoreError for a folder that is not a study's. To stop: set the event, then ``shutdown`` and ``server_close`` of
    the server.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"port is {port}: give a number from 1 to 65535")
    followed = FollowedRun(root, horizon_step, threshold)
    server = _bound(port, followed)
    with ExitStack() as undo:  # the port is given back if the first page can't be made
        undo.callback(server.server_close)
        followed.refresh()
        undo.pop_all()
    stop = threading.Event()
    threads = [
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True),
        threading.Thread(target=server.follow, args=(stop, tell), daemon=True),
    ]
    for thread in threads:
        thread.start()
    return server, threads, stop


def _bound(port: int, followed: FollowedRun) -> PageServer:
    try:
        return PageServer(port, followed)
    except PermissionError:
        raise InputError(f"port {port} can't be opened without more rights: give one above 1023 with --port") from None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise InputError(f"port {port} can't be opened: {error.strerror}; give another with --port") from None
        raise InputError(f"port {port} is in use: give another with --port") from None


def wait(server: PageServer, threads: Sequence[threading.Thread], stop: threading.Event) -> None:
    """Until Ctrl-C; then everything is closed."""
    try:
        while all(thread.is_alive() for thread in threads):
            time.sleep(0.2)
    except KeyboardInterrupt:
        pass
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
