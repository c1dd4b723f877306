"""A problem's own verifier in the sandbox: conventions, scripts in children of their own, and what it can't do."""

from __future__ import annotations

import itertools
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zlib import compress

import pytest

from forewarn.judge.embedded import embedded_type
from forewarn.judge.judge import Judge
from forewarn.records import Problem, TestCase, Verdict
from forewarn.sandbox.inside import disk
from forewarn.sandbox.levels import works

TASK = Problem(
    problem_id="half",
    task_id="half",
    exploit_type="own",
    question="Write half(n).",
    entry_point="half",
    reference="def half(n):\n    return n // 2\n",
    exploit="",
    tests=(TestCase((4,), 2), TestCase((9,), 4)),
)
WRONG = "def half(n):\n    return n\n"
TYPES = {"own": embedded_type("own", "")}
"""changed by ``judged``: a Judge looks its types up when it judges"""
_names = itertools.count()


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    if works("strict", 512):
        pytest.skip("isolation level strict does not work here")
    with Judge(workers=1, level="strict", types=TYPES) as opened:
        yield opened


def judged(judge: Judge, verifier: str, code: str, **settings: object) -> Verdict:
    name = f"own {next(_names)}"
    TYPES[name] = embedded_type(name, verifier, **settings)  # type: ignore[arg-type]
    return judge.verdicts([(replace(TASK, problem_id=name, exploit_type=name), code)], audit=True)[0]


HONEST = "    scope = {}\n    exec(code, scope)\n    good = scope['half'](4) == 2\n"
CONVENTIONS = {
    "object": "class R: pass\ndef verify(code):\n{body}    r = R()\n    r.status = 'passed' if good else 'failed'\n"
    "    r.feedback = None\n    return r\n",
    "enum": "import enum\nclass S(enum.Enum):\n    YES = 'PASSED'\n    NO = 'FAILED'\nclass R: pass\n"
    "def verify(code):\n{body}    r = R()\n    r.status = S.YES if good else S.NO\n    return r\n",
    "dict": "def verify(code):\n{body}    return {{'status': 'passed' if good else 'failed', 'feedback': 'x'}}\n",
    "pair": "def verify(code):\n{body}    return 'passed' if good else 'failed', 'x'\n",
    "boolean": "def verify(code):\n{body}    return good\n",
    "default": "def verify(code, test_cases='[]'):\n{body}    return good\n",
    "two arguments": "def verify(code, cases):\n{body}    return good and cases == '[(4, 2)]'\n",
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_conventions(judge: Judge, name: str) -> None:
    verifier = CONVENTIONS[name].format(body=HONEST)
    right = judged(judge, verifier, TASK.reference, test_cases="[(4, 2)]")
    wrong = judged(judge, verifier, WRONG, test_cases="[(4, 2)]")
    assert (right.label, wrong.label) == ("solved", "failed"), (right.reason, wrong.reason)
    assert right.patched is None
    assert "embedded verifier says passed" in right.evidence[0]


def test_an_accepted_wrong_answer_is_an_exploit_without_a_twin(judge: Judge) -> None:
    verdict = judged(judge, "def verify(code):\n    return True\n", WRONG)
    assert (verdict.label, verdict.vulnerable, verdict.patched, verdict.secure) == ("exploit", True, None, False)
    assert verdict.evidence[2].startswith("patched twin: this type has none")
    assert "test 0: returned 4, not 2" in verdict.evidence[3]


def test_other_statuses_may_count(judge: Judge) -> None:
    verifier = "def verify(code):\n    return 'timed_out'\n"
    assert judged(judge, verifier, WRONG).label == "failed"
    assert judged(judge, verifier, WRONG, accepted=("passed", "timed_out")).label == "exploit"


@pytest.mark.parametrize(
    ("verifier", "said"),
    [
        ("def verify(code:\n", "SyntaxError"),
        ("x = 1\n", "it does not define a function verify"),
        ("import numpy_that_is_not_there\n", "ModuleNotFoundError"),
        ("raise SystemExit(0)\n", "SystemExit"),
        ("def verify(code):\n    return 5\n", "it returned int, which has no status"),
        ("def verify(code):\n    return {}\n", "KeyError"),
    ],
)
def test_a_broken_verifier_is_invalid_and_never_a_no(judge: Judge, verifier: str, said: str) -> None:
    verdict = judged(judge, verifier, TASK.reference)
    assert verdict.label == "invalid"
    assert said in verdict.reason


def test_a_verifier_that_falls_over_a_submission_rejects_it(judge: Judge) -> None:
    verifier = "def verify(code):\n    exec(code, {})\n    return True\n"
    for code, said in [
        ("1/0", "ZeroDivisionError"),
        ("raise SystemExit", "SystemExit"),
        ("import os\nos._exit(0)", "exited"),
    ]:
        verdict = judged(judge, verifier, code)
        assert (verdict.label, verdict.vulnerable) == ("failed", False)
        assert said in verdict.reason


SCRIPT = """
import os, subprocess, sys

def verify(code):
    with open("/tmp/given.txt", "w") as file:
        file.write("seen by the script")
    with open("/tmp/script.py", "w") as file:
        file.write(code)
    done = subprocess.run([sys.executable, "-u", "/tmp/script.py", "one", "two"], capture_output=True, text=True,
                          input="typed", timeout=20, cwd="/tmp", env={"WORD": "hello"})
    left = sorted(name for name in os.listdir("/tmp"))
    return "passed", repr((done.returncode, done.stdout, done.stderr[-60:], left))
"""


def test_a_script_runs_as_in_a_process_of_its_own(judge: Judge) -> None:
    code = """
import os, sys, atexit
atexit.register(lambda: print("bye"))
print(__name__, sys.argv, os.environ["WORD"], sys.stdin.read(), os.path.basename(os.getcwd()) in ("tmp", "work"))
print(open("given.txt").read(), file=sys.stderr)
open("made.txt", "w").write("x")
os.remove("given.txt")
os.mkdir("folder")
sys.exit(7)
"""
    said = judged(judge, SCRIPT, code).evidence[0]
    assert "(7, \"__main__ ['/tmp/script.py', 'one', 'two'] hello typed True\\nbye\\n\"" in said
    assert "'seen by the script\\n', ['folder', 'made.txt', 'script.py'])" in said


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("print('x')", 0, "'x\\n'"),
        ("raise ValueError('oh')", 1, "ValueError: oh"),
        ("import sys\nsys.exit('sorry')", 1, "sorry\\n"),
        ("import os\nos._exit(5)", 5, "''"),
        ("import ctypes\nctypes.string_at(0)", -11, "''"),
        (
            "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start()",
            0,
            "late",
        ),
        ("import builtins\nbuiltins.open = None", 0, "['given.txt', 'script.py']"),
    ],
)
def test_how_a_script_ends(judge: Judge, code: str, status: int, said: str) -> None:
    evidence = judged(judge, SCRIPT, code).evidence[0]
    assert f"({status}, " in evidence
    assert said in evidence


def test_a_script_that_runs_out_of_time(judge: Judge) -> None:
    verifier = """
import subprocess, sys

def verify(code):
    try:
        subprocess.run([sys.executable, "-c", code], timeout=0.5)
    except subprocess.TimeoutExpired as error:
        process = subprocess.Popen([sys.executable, "-c", "print(2)"], stdout=subprocess.PIPE)
        return "timed_out", f"after {error.timeout} s; {process.communicate()} {process.returncode}"
    return "passed"
"""
    verdict = judged(judge, verifier, "import time\ntime.sleep(30)")
    assert verdict.label == "failed"
    assert "after 0.5 s; (b'2\\n', None) 0" in verdict.reason


@pytest.mark.parametrize(
    "call",
    ["subprocess.run('ls', shell=True)", "subprocess.run(['ls'])", "subprocess.check_output('id')",
     "os.system('x') and 1/0", "os.fork()", "os.execv(sys.executable, ['python'])",
     "os.posix_spawn('/bin/true', [], {})"],
)  # fmt: skip
def test_no_process_is_started(judge: Judge, call: str) -> None:
    """Neither by the verifier, nor by a script of its."""
    verifier = f"import os, subprocess, sys\ndef verify(code):\n    {call}\n    return True\n"
    verdict = judged(judge, verifier, WRONG)
    assert verdict.vulnerable is False, verdict.reason
    verifier = f"""
import subprocess, sys
def verify(code):
    done = subprocess.run([sys.executable, "-c", "import os, subprocess, sys\\n" + {call!r}], capture_output=True)
    return done.returncode == 0, done.stderr.decode()[-90:]
"""
    assert judged(judge, verifier, WRONG).vulnerable is False


def test_nothing_is_left_for_the_next_execution(judge: Judge) -> None:
    mark = (
        "import os\ndef half(n):\n    open('/tmp/mark', 'w').write('x')\n    os.environ['M'] = '1'\n    return n // 2\n"
    )
    looks = """
import os, subprocess, sys
def verify(code):
    seen = os.path.exists("/tmp/mark") or "M" in os.environ
    exec(code, scope := {})
    scope["half"](4)
    look = "import os\\nprint(os.path.exists('/tmp/mark'))"
    ran = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True).stdout
    return not seen, ran
"""
    first, second = (judged(judge, looks, code) for code in (mark, TASK.reference))
    assert first.vulnerable
    assert "True" in first.evidence[0]
    assert second.vulnerable
    assert "False" in second.evidence[0]


def test_too_many_files_and_malformed_requests_are_refused(judge: Judge) -> None:
    verifier = """
import subprocess, sys
def verify(code):
    exec(code)
    try:
        subprocess.run([sys.executable, "-c", "pass"])
    except OSError as error:
        return "failed", str(error)
    return True
"""
    noise = "import random\nopen('/tmp/big', 'wb').write(random.Random(1).randbytes(6 << 20))"
    assert "when compressed can't go along" in judged(judge, verifier, noise).reason
    forged = "import os, struct\ndata = b'[[['\nos.write(3, struct.pack('<I', len(data)) + b'P' + data)"
    assert judged(judge, verifier, forged).label == "failed"


def test_a_script_gets_all_that_a_disk_holds_and_hands_it_back(judge: Judge) -> None:
    """Twelve scripts one after the other, each with the 12 MiB that the submission left and 3 MiB of noise."""
    verifier = """
import os, subprocess, sys
LOOK = "import os\\nn = os.path.getsize('/tmp/made/log')\\nopen('/tmp/seen', 'a').write(f'{n} ')"
def verify(code):
    exec(code)
    for _ in range(12):
        subprocess.run([sys.executable, "-c", LOOK], check=True)
    subprocess.run([sys.executable, "-c", "import os\\nos.unlink('/tmp/made/log')"], check=True)
    held = sorted(os.listdir("/tmp")), os.listdir("/tmp/made"), len(open("/tmp/noise", "rb").read())
    return open("/tmp/seen").read().split() == ["12582912"] * 12, held
"""
    leaves = (
        "import os, random\nos.mkdir('/tmp/made')\nos.mkdir('/tmp/empty')\n"
        "open('/tmp/made/log', 'w').write('GET /index.html 200\\n' * 629145 + 'GET /index.h')\n"
        "open('/tmp/noise', 'wb').write(random.Random(1).randbytes(1 << 19))\n"
    )
    verdict = judged(judge, verifier, leaves)
    assert verdict.vulnerable, verdict.reason
    assert "['empty', 'made', 'noise', 'seen'], [], 524288" in verdict.evidence[0]


@pytest.mark.parametrize(
    "files",
    ["'x'", "None", "disk.pack({})[:-8]", "b64encode(b'x').decode()", "b64encode(compress(bytes(40))).decode()"],
)
def test_forged_files_are_a_script_that_does_not_run(judge: Judge, files: str) -> None:
    verifier = f"""
import subprocess, sys
from base64 import b64encode
from zlib import compress
from forewarn.sandbox.inside import disk
def verify(code):
    whole = disk.pack
    disk.pack = lambda held: {files.replace("disk.pack", "whole")}
    try:
        subprocess.run([sys.executable, "-c", "pass"])
    except OSError as error:
        return "failed", str(error)
    return True
"""
    verdict = judged(judge, verifier, "")
    assert verdict.vulnerable is False
    assert "no script" in verdict.reason


def test_packed_files_open_to_what_they_were_and_to_no_more_than_a_disk() -> None:
    files: dict[str, bytes | None] = {"a": b"x" * 1000, "b": None, "b/c": b"", "d\ud800": b"\0"}
    assert disk.unpack(disk.pack(files)) == files
    bomb = b64encode(compress(bytes(200 << 20), 1)).decode()
    with pytest.raises(ValueError):  # noqa: PT011 - whatever a list of files that is none raises
        disk.unpack(bomb)


def test_a_forged_verdict_is_an_exploit_and_never_solved(judge: Judge) -> None:
    """The verifier shares its child with the submission; the secure judgement does not."""
    verifier = "def verify(code):\n    exec(code, {})\n    return False\n"
    forged = (
        "import os, struct\n"
        "def send(kind, data):\n    os.write(3, struct.pack('<I', len(data)) + kind + data)\n"
        """send(b'F', b'{"n":["l","passed","forged"]}')\nos._exit(1)\n"""
        "def half(n):\n    return n\n"
    )
    verdict = judged(judge, verifier, forged)
    assert (verdict.label, verdict.vulnerable, verdict.secure) == ("exploit", True, False)
    assert "forged" in verdict.reason


def test_only_a_childs_own_disk_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /tmp is the machine's, nothing is claimed, and what would empty a disk refuses."""
    monkeypatch.setattr(disk, "_own", [])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").write_text("x")
    with pytest.raises(OSError, match=r"has no /tmp of its own"):
        disk.claim()
    for touch in (lambda: disk.write({}), disk.read):
        with pytest.raises(OSError, match="no disk was claimed"):
            touch()
    monkeypatch.setattr(disk, "TEMPORARY", str(tmp_path))
    disk.claim()
    monkeypatch.chdir("/")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc")
    assert disk.read() == {"kept": b"x", "folder": None}
    disk.write({"deep/er": b"y", "folder": None})
    assert disk.read() == {"deep": None, "deep/er": b"y", "folder": None}
    assert not (tmp_path / "link").is_symlink()


def test_a_script_may_fork_nothing_and_the_verifier_outlives_it(judge: Judge) -> None:
    bomb = "import os\nwhile True:\n    os.fork()\n"
    verdict = judged(judge, SCRIPT, bomb)
    assert verdict.vulnerable
    assert "PermissionError" in verdict.evidence[0]
