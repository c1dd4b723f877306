"""Checkpoints in a storage: whole ones are downloaded and no others, and what is wrong is one sentence."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from forewarn.checkpoints import remote
from forewarn.checkpoints.places import unwritten
from forewarn.checkpoints.remote import RemotePolls, StorageFault
from forewarn.errors import InputError, MissingExtraError
from tests.command import Said
from tests.monitor.trainer import watcher
from tests.study_runner import TINY_FILE
from tests.tiny_world import TinyWorld

fsspec = pytest.importorskip("fsspec")


class Storage:
    """A trainer that writes to a storage, as TRL does to a folder."""

    def __init__(self, url: str, world: TinyWorld) -> None:
        self.url, self._world = url, world
        self.files, self.path = fsspec.core.url_to_fs(url)

    def put(self, name: str, data: bytes) -> None:
        path = f"{self.path}/{name}"
        self.files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self.files.pipe_file(path, data)

    def begin(self, step: int, cut: int = 0) -> None:
        for path in self._world.subject.iterdir():
            data = path.read_bytes()
            if path.suffix == ".safetensors" and cut:
                data = data[:-cut]
            self.put(f"checkpoint-{step}/{path.name}", data)
        self.put(f"checkpoint-{step}/optimizer.pt", b"0" * 4096)

    def finish(self, step: int) -> None:
        self.put(f"checkpoint-{step}/trainer_state.json", json.dumps({"global_step": step}).encode())

    def prune(self, step: int) -> None:
        self.files.rm(f"{self.path}/checkpoint-{step}", recursive=True)


@pytest.fixture(params=["memory", "file"])
def storage(request: pytest.FixtureRequest, world: TinyWorld, tmp_path: Path) -> Iterator[Storage]:
    url = "memory://bucket/runs/out" if request.param == "memory" else f"file://{tmp_path}/bucket/out"
    made = Storage(url, world)
    yield made
    if made.files.exists(made.path):
        made.files.rm(made.path, recursive=True)


def names(polls: RemotePolls) -> list[str]:
    return [spot.name for spot in polls.look()]


def test_only_whole_checkpoints_are_downloaded(
    storage: Storage, world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SMALL", 2000)  # the tiny world's weights count as large
    mirror = tmp_path / "mirror"
    polls = RemotePolls(storage.url, mirror, without=("optimizer*",))
    weights = mirror / "out" / "checkpoint-1" / "model.safetensors"
    assert names(polls) == []  # nothing is there yet
    storage.begin(1, cut=100)
    assert [names(polls), names(polls)] == [[], []]
    assert not any(weights.read_bytes())  # no sign yet: nothing large is downloaded
    storage.finish(1)
    assert [names(polls), names(polls), names(polls)] == [[], [], []]  # shorter than its header says
    storage.begin(1)
    assert names(polls) == []  # it changed since the look before
    [spot] = polls.look()
    assert (spot.name, spot.step) == ("checkpoint-1", 1)
    assert unwritten(spot) is None
    assert weights.read_bytes() == (world.subject / "model.safetensors").read_bytes()
    assert not any((spot.folder / "optimizer.pt").read_bytes())
    kept = RemotePolls(storage.url, tmp_path / "again", known=lambda: ["checkpoint-1"])
    assert [names(kept), names(kept)] == [[], []]  # it is kept already
    storage.begin(1)
    storage.put("checkpoint-1/config.json", (world.later / "config.json").read_bytes() + b" ")
    assert [names(kept), names(kept), names(kept)] == [[], ["checkpoint-1"], []]  # written again
    storage.put("latest", b"3")
    storage.prune(1)
    assert names(polls) == []
    assert not weights.exists()


def test_a_checkpoint_that_changes_under_its_download_waits(
    world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SMALL", 2000)
    storage = Storage(f"file://{tmp_path}/bucket/out", world)
    storage.begin(1), storage.finish(1)
    polls = RemotePolls(storage.url, tmp_path / "mirror")
    assert names(polls) == []
    plain = RemotePolls._download

    def rewritten(self: RemotePolls, mine: Any) -> None:
        plain(self, mine)
        storage.put("checkpoint-1/config.json", (world.later / "config.json").read_bytes() + b" ")

    with monkeypatch.context() as patch:
        patch.setattr(RemotePolls, "_download", rewritten)
        assert names(polls) == []
    assert names(polls) == []
    assert names(polls) == ["checkpoint-1"]
    config = tmp_path / "mirror" / "out" / "checkpoint-1" / "config.json"
    assert config.read_bytes().endswith(b" ")


def test_a_storage_that_breaks_is_a_fault_and_one_that_cant_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = RemotePolls("memory://bucket/broken", tmp_path)

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to the storage")

    monkeypatch.setattr(type(polls._files), "find", offline)
    with pytest.raises(StorageFault, match="memory://bucket/broken can't be listed"):
        polls.look()
    with pytest.raises(InputError, match="nosuch://a/b can't be read"):
        RemotePolls("nosuch://a/b", tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"fsspec is not installed: pip install 'forewarn\[storage\]'"):
        RemotePolls("s3://bucket/run", tmp_path)


def test_a_server_of_files_is_followed(world: TinyWorld, tmp_path: Path) -> None:
    """A loopback web server lists its folders as pages, and tells no time of change."""
    pytest.importorskip("aiohttp")
    out = tmp_path / "served" / "out"
    shutil.copytree(world.subject, out / "checkpoint-3")
    (out / "checkpoint-3" / "trainer_state.json").write_text(json.dumps({"global_step": 3}))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        polls = RemotePolls(f"http://127.0.0.1:{server.server_address[1]}/out", tmp_path / "mirror")
        assert [names(polls), names(polls)] == [[], ["checkpoint-3"]]
    finally:
        server.shutdown()
        server.server_close()
    assert polls.look() == []  # fsspec's web file system says "nothing" of a server that is gone
    assert (tmp_path / "mirror" / "out" / "checkpoint-3" / "model.safetensors").is_file()


def test_the_watcher_measures_from_a_storage_and_the_other_commands_say_so(
    home: Path, world: TinyWorld, said: Said
) -> None:
    storage = Storage("memory://bucket/watched", world)
    text = TINY_FILE.replace('path = "base"', 'path = "memory://bucket/watched"', 1)
    (home / "study.toml").write_text("".join(line for line in text.splitlines(True) if "step = " not in line))
    storage.begin(1), storage.finish(1)
    lines: list[str] = []
    one = watcher(home, lines)
    assert one.look() == []
    assert [pin.name for pin in one.look()] == ["checkpoint-1"]
    storage.prune(1)
    assert one.look() == []
    assert one.measure_next() is not None, lines
    assert [pin.name for pin in one.measured] == ["checkpoint-1"]
    code, out, err = said("run", "study.toml")
    assert (code, out) == (2, "")
    assert "is in a storage, which `forewarn watch` alone follows" in err
