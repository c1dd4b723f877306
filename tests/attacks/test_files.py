"""The host's files: those that the catalogue's attacks do not ask for; and the working folder, emptied."""

from __future__ import annotations

import contextlib
import os
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from forewarn.sandbox.host import Sandbox
from forewarn.sandbox.inside.folder import empty
from tests.attacks.conftest import Attack, returned, run_in
from tests.sandbox.altered import start_altered

READ = """
def solve(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        return ["refused", type(error).__name__]
"""


def refused(value: object) -> bool:
    return isinstance(value, list) and value[0] == "refused"


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/shadow", "/proc/self/environ", "/proc/1/cmdline", "/dev/mem"])
def test_system_files_are_not_read(attack: Attack, path: str) -> None:
    assert refused(returned(attack(READ, path)))


def test_the_parents_memory_and_environment_are_not_read(attack: Attack) -> None:
    for name in ("environ", "mem", "cmdline", "maps"):
        assert refused(returned(attack(READ, f"/proc/{os.getpid()}/{name}")))


def test_modes_times_and_names_of_host_files_stay(attack: Attack, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("x")
    before = target.stat()
    source = """
    import os
    def solve(path):
        for change in (lambda: os.chmod(path, 0o777), lambda: os.utime(path, (1, 1)), lambda: os.unlink(path),
                       lambda: os.rename(path, path + "2"), lambda: os.truncate(path, 0), lambda: os.chown(path, 1, 1),
                       lambda: os.setxattr(path, "user.a", b"1"), lambda: os.link(path, path + "3")):
            try:
                change()
            except OSError:
                pass
    """
    assert returned(attack(source, str(target))) is None
    after = target.stat()
    assert (after.st_mode, after.st_mtime, after.st_uid) == (before.st_mode, before.st_mtime, before.st_uid)
    assert target.read_text() == "x"
    assert len(list(tmp_path.iterdir())) == 1


def test_no_descriptor_is_inherited(attack: Attack) -> None:
    source = """
    import os
    def solve():
        found = []
        for handle in range(1024):
            try:
                os.fstat(handle)
                found.append(handle)
            except OSError:
                pass
        return found
    """
    assert returned(attack(source)) == [0, 1, 2, 3]


def test_the_environment_is_empty(attack: Attack) -> None:
    assert returned(attack("import os\ndef solve():\n    return dict(os.environ)")) == {}


def test_cleaning_does_not_follow_symbolic_links(tmp_path: Path) -> None:
    outside, work = tmp_path / "outside", tmp_path / "work"
    outside.mkdir()
    (outside / "kept").write_text("x")
    (work / "folder").mkdir(parents=True)
    (work / "folder" / "file").write_text("x")
    (work / "link").symlink_to(outside)
    (work / "folder" / "link").symlink_to(outside / "kept")
    empty(str(work))
    assert list(work.iterdir()) == []
    assert (outside / "kept").exists()


def test_cleaning_ends_at_any_depth_and_whatever_the_modes(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with contextlib.chdir(work):
        for _ in range(1500):  # deeper than recursion goes, and than a path can say
            Path("a long name for a folder").mkdir()
            os.chdir("a long name for a folder")
        Path("innermost").write_text("x")
        Path("closed").mkdir(mode=0)
    empty(str(work))
    assert list(work.iterdir()) == []


def test_nothing_is_left_beside_the_working_folder(attack: Attack) -> None:
    source = """
    import os
    def solve():
        written = []
        for folder in ("..", "../..", "/", "/box", "/tmp/..", "/dev", "/usr", "/var/tmp"):
            try:
                open(folder + "/left", "w").close()
                written.append(folder)
            except OSError:
                pass
        open("left", "w").close()
        return written
    """
    assert returned(attack(source)) == []


class OldKernel(Sandbox):
    """A sandbox without user namespaces, on a kernel whose Landlock is of an old version."""

    def __init__(self, landlock: int) -> None:
        super().__init__("hardened", 512)
        self._landlock = landlock

    def _start(self, control: int) -> subprocess.Popen[bytes]:
        change = f"landlock.abi = lambda: {self._landlock}; defences.OF_LEVEL['hardened'] -= {{'own root'}}"
        return start_altered(control, "defences, landlock", change)


@pytest.mark.parametrize("landlock", [1, 2, 3])
def test_no_version_of_landlock_lets_a_host_file_be_changed(landlock: int, tmp_path: Path) -> None:
    """The first two versions know nothing of truncating."""
    source = """
    import os
    def solve(path, new):
        refused = 0
        for change in (
            lambda: os.truncate(path, 0),
            lambda: os.open(path, os.O_RDONLY | os.O_TRUNC),
            lambda: os.open(path, os.O_ACCMODE | os.O_TRUNC),
            lambda: open(path, "w"),
            lambda: open(path, "r+"),
            lambda: os.unlink(path),
            lambda: os.rename(path, new),
            lambda: os.link(path, new),
            lambda: os.symlink(path, new),
            lambda: os.mkdir(new),
        ):
            try:
                change()
            except OSError:
                refused += 1
        with open("own", "w") as file:
            file.write("longer")
            file.flush()
            os.ftruncate(file.fileno(), 3)
        return refused, open("own").read()
    """
    path = tmp_path / "file"
    path.write_text("precious")
    with closing(OldKernel(landlock)) as sandbox:
        assert returned(run_in(sandbox, source, str(path), str(tmp_path / "new"))) == (10, "lon")
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]
