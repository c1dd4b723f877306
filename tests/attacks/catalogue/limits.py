"""Time and output: past the deadline, too much sent, too much printed."""

from __future__ import annotations

from tests.attacks.attack import Attack, Outcome, by_fault, by_return

FAMILY = "time and output"
CLOCKS = ("deadline", "CPU limit")
CPU_S = 3.5
"""CPU seconds that a loop takes: more than the limit at the timeout below, which is 2 s"""
TIMEOUT_S = 0.5
WAIT_S = 200.0
"""for a few seconds of CPU time on a busy machine"""


def loop(body: str, header: str = "", call: str = "") -> str:
    """A submission that burns ``CPU_S`` seconds of CPU time and then returns."""
    return f"""
import time
{header}
def burn():
    while time.process_time() < {CPU_S}:
        {body}
def solve():
    {call or "burn()"}
    return 1
"""


def sent_too_much(outcome: Outcome) -> bool:
    assert outcome.execution is not None, outcome.fault
    return len(outcome.execution.frames) > 20 << 20


def printed(outcome: Outcome) -> bool:
    assert outcome.run is not None, outcome.fault
    assert outcome.run.calls[0].outcome == "returned"
    return b"forged" in outcome.log


ATTACKS = (
    Attack("loops for ever", FAMILY, loop("pass"), by_return, CLOCKS, timeout_s=TIMEOUT_S, wait_s=WAIT_S),
    Attack(
        "loops at import", FAMILY, loop("pass", call="pass") + "burn()\n",
        by_return, CLOCKS, timeout_s=TIMEOUT_S, wait_s=WAIT_S,
    ),
    Attack(
        "loops in C", FAMILY, "def solve():\n    return sum(range(25 * 10**7))",
        by_return, CLOCKS, timeout_s=TIMEOUT_S, wait_s=WAIT_S,
    ),
    Attack(
        "loops and catches everything", FAMILY,
        loop("pass", call="try:\n        burn()\n    except BaseException:\n        burn()"),
        by_return, CLOCKS, timeout_s=TIMEOUT_S, wait_s=WAIT_S,
    ),
    Attack(
        "loops and ignores every signal", FAMILY,
        loop(
            "pass",
            header="import signal\nfor number in range(1, 65):\n    try:\n"
            "        signal.signal(number, signal.SIG_IGN)\n    except (OSError, ValueError):\n        pass",
        ),
        by_return, CLOCKS, timeout_s=TIMEOUT_S, wait_s=WAIT_S,
    ),
    Attack(
        "loops in a thread that nobody waits for", FAMILY,
        loop("pass", header="import threading",
             call="thread = threading.Thread(target=burn)\n    thread.start()\n    thread.join()"),
        by_return, CLOCKS, timeout_s=TIMEOUT_S, wait_s=WAIT_S,
    ),
    Attack(
        "sleeps past the deadline", FAMILY, "import time\ndef solve():\n    time.sleep(3)\n    return 1",
        by_return, ("deadline",), timeout_s=TIMEOUT_S,
    ),
    Attack(
        "waits in a finaliser", FAMILY,
        "import time\nclass A:\n    def __del__(self):\n        time.sleep(3)\ndef solve():\n    A()\n    return 1",
        by_return, ("deadline",), timeout_s=TIMEOUT_S,
    ),
    Attack(
        "sends a byte at a time", FAMILY,
        """
        import os, time
        def solve():
            for byte in b"\\x04\\x00\\x00\\x00?null" * 3:
                os.write(3, bytes([byte]))
                time.sleep(0.1)
            return 1
        """,
        by_return, ("deadline",), timeout_s=TIMEOUT_S,
    ),
    Attack(
        "floods the channel", FAMILY,
        """
        import os, struct
        def solve():
            block = struct.pack("<I", 90_000) + b"?" + b"0" * 90_000
            for _ in range(300):
                os.write(3, block)
            return 1
        """,
        sent_too_much, ("output limit",),
    ),
    Attack(
        "lowers its CPU limit to feign a fault of the sandbox", FAMILY,
        "import resource\ndef solve():\n    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\n    while True: pass",
        by_fault, ("system call filter",),
    ),
    Attack(
        "prints a forged verdict", FAMILY,
        "import os, sys\nprint('{\"forged\": true}', flush=True)\ndef solve():\n"
        "    os.write(2, b'forged')\n    return 1",
        printed, ("null output", "own descriptions"),
    ),
)  # fmt: skip
