"""The server that follows a run: who is answered, what a new cell changes, and ports that can't be had."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from forewarn.errors import InputError, StoreError
from forewarn.report import serve
from tests.browser.made_up import STEPS, write_run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", steps=STEPS[:2], types=2)
    return tmp_path / "run"


@pytest.fixture
def server(root: Path) -> Iterator[serve.PageServer]:
    found, threads, stop = serve.serve(root, port=0)
    yield found
    stop.set()
    found.shutdown()
    found.server_close()
    for thread in threads:
        thread.join(10)


def ask(server: serve.PageServer, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = HTTPConnection(serve.HOST, server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_carries_the_version_that_the_server_tells(server: serve.PageServer) -> None:
    status, text = ask(server)
    assert status == 200
    assert f'data-version="{ask(server, "/version")[1]}"' in text
    assert "4 of 4 cells" in text
    assert ask(server, "/", "HEAD") == (200, "")
    assert ask(server, "/report.html")[0] == 404


def test_only_this_machines_names_are_answered(server: serve.PageServer) -> None:
    port = server.server_port
    assert ask(server, Host=f"localhost:{port}")[0] == 200
    for name in ("evil.example", f"evil.example:{port}", serve.HOST, f"{serve.HOST}:{port}.evil.example", ""):
        status, text = ask(server, Host=name)
        assert status == 421
        assert "cells" not in text
    assert server.server_address[0] == "127.0.0.1"


def test_a_new_cell_is_seen_and_other_forecasts_are_kept(root: Path) -> None:
    followed = serve.FollowedRun(root)
    assert followed.refresh()
    assert not followed.refresh()
    before, kept = followed.version, dict(followed._forecasts)
    write_run(root, steps=STEPS[:3], types=2)
    assert followed.refresh()
    assert followed.version != before
    assert "6 of 6 cells" in followed.html
    assert all(followed._forecasts[key][1] is not kept[key][1] for key in kept)
    held = {key: said for key, (_, said) in followed._forecasts.items()}
    (root / "missing.json").write_text("[]")
    assert followed.refresh()
    assert all(followed._forecasts[key][1] is said for key, said in held.items())


def test_a_run_without_a_cell_has_a_page_that_waits(root: Path) -> None:
    for path in (root / "completions").glob("*.parquet"):
        path.unlink()
    followed = serve.FollowedRun(root)
    assert followed.refresh()
    assert "None of the 4 planned cells is measured yet" in followed.html


def test_bad_ports_are_one_sentence(root: Path) -> None:
    with socket.socket() as taken:
        taken.bind((serve.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} is in use: give another"):
            serve.serve(root, port=port)
    for wrong in (-1, 65536):
        with pytest.raises(InputError, match=f"port is {wrong}: give a number"):
            serve.serve(root, port=wrong)
    with pytest.raises(StoreError):
        serve.serve(root / "nothing", port=0)


def test_ctrl_c_ends_it_with_0(root: Path) -> None:
    command = [sys.executable, "-m", "forewarn", "report", str(root), "--serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"at http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends it\)", line)
        assert found, line
        with socket.create_connection((serve.HOST, int(found[1])), timeout=10):
            pass
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 0
    assert error.strip() == "Stopped"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((serve.HOST, int(found[1])), timeout=10)


def test_options_that_contradict_each_other_are_refused(root: Path) -> None:
    for arguments, words in ((["--port", "9"], "--port is for --serve"), (["--serve", "--out", "x"], "--out has no")):
        command = [sys.executable, "-m", "forewarn", "report", str(root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
