"""The table of docs/attacks.md: attack x level -> stopped or got through.

    python -m tests.attacks.table            # runs every attack and prints what became of it
    python -m tests.attacks.table --write    # the same, into the page

Ends with 1 where something came out otherwise than the catalogue says.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forewarn.sandbox.inside.defences import DEFENCES
from tests.attacks.arena import Arena
from tests.attacks.attack import PARENT_DEFENCES, Attack
from tests.attacks.catalogue import CATALOGUE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "attacks.md"
BLOCK = re.compile(r"(?<=<!-- tables -->\n).*?(?=<!-- end of tables -->)", flags=re.DOTALL)


@dataclass(frozen=True)
class Row:
    """What became of one attack."""

    attack: Attack
    strict: str
    hardened: str
    without: str


def expected_rows() -> list[Row]:
    """What the catalogue says, and ``test_catalogue.py`` tests."""
    return [Row(attack, "stopped", attack.hardened, "got through") for attack in CATALOGUE]


def measured_rows() -> list[Row]:
    arena = Arena()
    rows = []
    try:
        for number, attack in enumerate(CATALOGUE, 1):
            print(f"{number}/{len(CATALOGUE)} {attack.name}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                strict = arena.answer(attack, "strict", folder / "strict")
                hardened = arena.answer(attack, "hardened", folder / "hardened")
                why_not = attack.possible()
                without = why_not or arena.answer(attack, "strict", folder / "without", attack.without)
            rows.append(Row(attack, strict, hardened, without))
    finally:
        arena.close()
    return rows


def tables(rows: Sequence[Row]) -> str:
    """Markdown: the attacks, family by family, then the defences."""
    lines = []
    for family in dict.fromkeys(row.attack.family for row in rows):
        lines += [f"### {family.capitalize()}", ""]
        lines += [
            "| a submission that ... | strict | hardened | without | ... these defences |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {row.attack.name} | {row.strict} | {row.hardened} | {row.without} | {', '.join(row.attack.without)} |"
            for row in rows
            if row.attack.family == family
        ]
        lines.append("")
    lines += ["### The defences", "", "| defence | what it does |", "|---|---|"]
    lines += [f"| {name} | {says} |" for name, says in {**DEFENCES, **PARENT_DEFENCES}.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the page's tables")
    options = parser.parse_args()
    rows = measured_rows()
    if options.write:
        PAGE.write_text(BLOCK.sub(lambda _: tables(rows), PAGE.read_text()))
    else:
        print(tables(rows))
    surprises = [row for row, expected in zip(rows, expected_rows(), strict=True) if row != expected]
    for row in surprises:
        print(f"not as the catalogue says: {row.attack.name}: {row.strict}, {row.hardened}, {row.without}")
    sys.exit(bool(surprises))


if __name__ == "__main__":
    main()
