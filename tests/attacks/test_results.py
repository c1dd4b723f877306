"""What leaves the sandbox: a result is worth what the parent's comparison says, however it was sent."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from forewarn.sandbox.host import Sandbox
from tests.attacks.conftest import Attack, returned

FRAME = """
import json, os, struct
def frame(kind, tree):
    data = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    os.write(3, struct.pack("<I", len(data)) + kind + data)
"""


def test_a_forged_result_has_to_be_right(attack: Attack) -> None:
    source = (
        FRAME + "def solve():\n    frame(b'r', {'v': 41, 's': 0.0})\n    frame(b'F', {'n': None})\n    os._exit(1)\n"
    )
    run = attack(source, expected=42)
    assert run.ending == "finished"
    assert not run.calls[0].correct


@pytest.mark.parametrize(
    "tail",
    [
        "os.write(3, b'\\x10')",
        "os.write(3, struct.pack('<I', 1000) + b'r' + b'{}')",
        "os.write(3, struct.pack('<I', 2**32 - 1) + b'r')",
        "frame(b'r', b'not json')",
        "frame(b'r', [1])",
        "frame(b'q', {})",
        "frame(b'F', {'n': None}); frame(b'r', {'v': 42})",
        "frame(b'x', {'k': 3})",
    ],
)
def test_forged_and_cut_frames_are_no_pass(attack: Attack, tail: str) -> None:
    run = attack(FRAME + f"def solve():\n    {tail}\n    os._exit(1)\n", expected=42)
    assert run.ending == "malformed"
    assert not run.calls[0].correct or run.ending != "finished"


def test_a_claimed_confinement_fault_is_not_believed(attack: Attack) -> None:
    run = attack(FRAME + "def solve():\n    frame(b'!', 'your fault')\n    os._exit(1)\n", expected=42)
    assert run.ending == "malformed"


def test_asking_for_the_expected_value_gives_none(attack: Attack) -> None:
    run = attack(
        FRAME + "def solve():\n    frame(b'?', 0)\n    return os.read(3, 100).decode()\n", expected=42, timeout_s=0.5
    )
    assert run.ending == "deadline"
    assert run.calls[0].outcome == "missing"


def test_no_pickle_is_loaded(attack: Attack, tmp_path: Path) -> None:
    source = """
    import os, pickle
    class Bomb:
        def __reduce__(self):
            return (open, (PATH, "w"))
    def solve(path):
        global PATH
        PATH = path
        return [Bomb(), pickle.dumps(Bomb())]
    """
    run = attack(source, str(tmp_path / "planted"))
    assert isinstance(run.calls[0].tree, list)
    assert run.calls[0].tree[1] == ["o", "Bomb"]
    assert list(tmp_path.iterdir()) == []


def test_a_huge_integer_passes_whole(attack: Attack) -> None:
    value = 7**60_000
    assert attack("def solve():\n    return 7 ** 60_000", expected=value).calls[0].correct
    assert not attack("def solve():\n    return 7 ** 60_000 + 1", expected=value).calls[0].correct


def test_a_forged_integer_does_not_hang_the_parent(attack: Attack) -> None:
    start = time.process_time()
    source = FRAME + "def solve():\n    frame(b'r', b'{\"v\": ' + b'9' * 4_000_000 + b'}')\n    os._exit(1)\n"
    assert attack(source, expected=42).ending == "malformed"
    assert time.process_time() - start < 5


def test_colliding_hashes_do_not_hang_the_parent(attack: Attack) -> None:
    prime = sys.hash_info.modulus
    many = f"range({prime}, {prime} * 300_000, {prime})"
    source = FRAME + f"def solve():\n    frame(b'r', {{'v': ['s', *{many}]}})\n    os._exit(1)\n"
    start = time.process_time()
    assert not attack(source, expected=set(range(299_999)), timeout_s=5.0).calls[0].correct
    assert time.process_time() - start < 10


def test_deep_nesting_is_opaque(attack: Attack) -> None:
    source = "def solve():\n    value = []\n    for _ in range(100_000):\n        value = [value]\n    return value"
    assert attack(source).calls[0].tree == ["o", "value nested more than 100 deep"]


def test_forged_deep_nesting_is_malformed(attack: Attack) -> None:
    source = FRAME + "def solve():\n    frame(b'r', b'{\"v\": ' + b'[' * 500_000)\n    os._exit(1)\n"
    assert attack(source, expected=[]).ending == "malformed"


def test_a_value_within_itself_is_opaque(attack: Attack) -> None:
    run = attack("def solve():\n    value = []\n    value.append(value)\n    return value", expected=[])
    assert run.calls[0].outcome == "returned"
    assert not run.calls[0].correct


def test_a_result_over_64_kilobytes_arrives(attack: Attack) -> None:
    assert attack("def solve():\n    return list(range(100_000))", expected=list(range(100_000))).calls[0].correct


def test_prints_do_not_disturb_the_transport(attack: Attack) -> None:
    source = (
        "import sys\nprint('x' * 100_000)\nsys.stderr.write('y' * 100_000)\ndef solve():\n    print('z')\n    return 42"
    )
    assert returned(attack(source, expected=42)) == 42


@pytest.mark.parametrize("stage", ["load", "call"])
@pytest.mark.parametrize(
    "end",
    [
        "sys.exit(0)",
        "sys.exit(1)",
        "os._exit(0)",
        "os._exit(1)",
        "os.abort()",
        "ctypes.string_at(0)",
        "raise KeyboardInterrupt",
    ],
)
def test_every_way_to_leave_is_no_pass(attack: Attack, stage: str, end: str) -> None:
    source = "import ctypes, os, sys\n"
    source += f"{end}\ndef solve():\n    return 42" if stage == "load" else f"def solve():\n    {end}\n    return 42"
    run = attack(source, expected=42)
    assert not run.calls[0].correct
    assert run.load_error or run.ending in ("exited", "signal") or run.calls[0].outcome == "raised"


def test_closing_every_descriptor_is_no_pass_and_no_fault(attack: Attack) -> None:
    run = attack("import os\nos.closerange(0, 1000)\ndef solve():\n    return 42", expected=42)
    assert run.ending in ("exited", "signal")
    assert returned(attack("def solve():\n    return 42")) == 42


def test_patching_the_worker_hurts_only_oneself(attack: Attack) -> None:
    source = """
    import builtins, json, os, struct
    builtins.isinstance = builtins.len = builtins.type = lambda *a: True
    json.dumps = lambda *a, **k: '"42"'
    struct.pack = lambda *a: b""
    def solve():
        return 41
    """
    assert not attack(source, expected=42).calls[0].correct
    assert attack("def solve():\n    return 42", expected=42).calls[0].correct


def test_the_zygote_never_holds_a_request_or_a_result(attack: Attack, sandbox: Sandbox) -> None:
    source = "MARK = 'left' + 'over-7b1e'\ndef solve(word):\n    return [MARK, word]"
    assert returned(attack(source, "argument-55aa")) == ["leftover-7b1e", "argument-55aa"]
    memory = b""
    with open(f"/proc/{sandbox.pid}/mem", "rb") as file:
        for line in Path(f"/proc/{sandbox.pid}/maps").read_text().splitlines():
            bounds, mode, *_ = line.split()
            if mode.startswith("rw"):
                low, high = (int(bound, 16) for bound in bounds.split("-"))
                file.seek(low)
                memory += file.read(high - low)
    assert b"collections" in memory  # the probe reads what is there
    assert b"leftover-7b1e" not in memory
    assert b"argument-55aa" not in memory


def test_modules_and_variables_do_not_last_until_the_next_run(attack: Attack) -> None:
    leave = """
    import math, os, sys
    math.pi, os.environ["A"], sys.modules["left"] = 3, "b", math
    def solve():
        return 1
    """
    look = "import math, os, sys\ndef solve():\n    return [math.pi == 3, 'A' in os.environ, 'left' in sys.modules]"
    returned(attack(leave))
    assert returned(attack(look)) == [False, False, False]


def test_set_order_is_the_same_in_every_sandbox(attack: Attack) -> None:
    source = "def solve():\n    return list({'a', 'b', 'c', 'd', 'e'})"
    other = Sandbox("hardened", 256)
    from tests.attacks.conftest import run_in

    try:
        assert returned(attack(source)) == returned(run_in(other, source))
    finally:
        other.close()
