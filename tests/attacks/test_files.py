"""The host's files: not read, not written, not touched; nothing left for the next run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from forewarn.judge.inside.folder import empty
from forewarn.judge.sandbox import Sandbox
from tests.attacks.conftest import Attack, returned, run_in

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


def test_a_host_file_is_not_read(attack: Attack, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("42")
    assert refused(returned(attack(READ, str(secret))))


def test_the_probe_above_would_find_it(tmp_path: Path) -> None:
    # At level weak, which promises nothing about files, the same probe reads the secret.
    secret = tmp_path / "secret"
    secret.write_text("42")
    sandbox = Sandbox("weak", 512)
    try:
        assert returned(run_in(sandbox, READ, str(secret))) == "42"
    finally:
        sandbox.close()


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/shadow", "/proc/self/environ", "/proc/1/cmdline", "/dev/mem"])
def test_system_files_are_not_read(attack: Attack, path: str) -> None:
    assert refused(returned(attack(READ, path)))


def test_the_test_suite_is_not_read(attack: Attack) -> None:
    assert refused(returned(attack(READ, __file__)))


def test_the_parents_memory_and_environment_are_not_read(attack: Attack) -> None:
    for name in ("environ", "mem", "cmdline", "maps"):
        assert refused(returned(attack(READ, f"/proc/{os.getpid()}/{name}")))


def test_a_host_file_is_not_written(attack: Attack, tmp_path: Path) -> None:
    source = """
    def solve(path):
        try:
            open(path, "w").write("hello")
        except OSError:
            return "refused"
    """
    target = tmp_path / "new"
    attack(source, str(target))
    attack(source, str(tmp_path / "." / ".." / tmp_path.name / "new2"))
    assert list(tmp_path.iterdir()) == []


def test_the_standard_library_is_not_written(attack: Attack) -> None:
    source = """
    import os
    def solve():
        done = []
        for path in (os.__file__, os.path.join(os.path.dirname(os.__file__), "planted.py")):
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
                done.append(path)
            except OSError:
                pass
        return done
    """
    assert returned(attack(source)) == []


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


def test_a_symbolic_link_leads_nowhere(attack: Attack, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("42")
    source = """
    import os
    def solve(path):
        try:
            os.symlink(path, "link")
            return open("link").read()
        except OSError:
            return "refused"
    """
    assert returned(attack(source, str(tmp_path / "secret"))) == "refused"


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


def test_files_do_not_last_until_the_next_run(attack: Attack) -> None:
    leave = """
    import os
    def solve():
        os.mkdir("d")
        open("d/marker", "w").close()
        open("m", "w").close()
        return sorted(os.listdir())
    """
    look = "import os\ndef solve():\n    return os.listdir()"
    assert returned(attack(leave)) == ["d", "m"]
    assert returned(attack(look)) == []


def test_a_full_disk_is_its_own(attack: Attack) -> None:
    source = """
    import os
    def solve():
        written = 0
        try:
            for number in range(10_000):
                with open(f"f{number % 200}", "ab", buffering=0) as file:
                    written += file.write(b"x" * 2**19)
        except OSError:
            pass
        return written
    """
    written = returned(attack(source))
    assert isinstance(written, int)
    assert written <= 16 << 20
