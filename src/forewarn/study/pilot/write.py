"""The planned study's file: a copy of the user's, comments kept, with a new name and the planned counts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomlkit

from forewarn.errors import InputError
from forewarn.store import write_whole
from forewarn.study.pilot.plan import Plan
from forewarn.study.plan import Study


def planned_file(text: bytes, study: Study, plan: Plan) -> str:
    """The file ``text`` with the plan's counts. A span that gets other counts for other types is listed once for each
    count; one whose counts are all 0 is left out."""
    document: Any = tomlkit.parse(text.decode())
    document["name"] = f"{study.name}-planned"
    listed = document["spans"]
    counts = {t: plan.counts(t) for t in study.exploit_types}
    for i in reversed(range(len(study.spans))):
        planned = study.spans[i]
        by_count: dict[int, list[str]] = {}
        for exploit_type in planned.exploit_types or study.exploit_types:
            if exploit_type in counts and (count := counts[exploit_type][planned.span.name]):
                by_count.setdefault(count, []).append(exploit_type)
        entries = _entries(listed[i], by_count, study.exploit_types, bool(planned.exploit_types))
        if not entries:
            del listed[i]
            continue
        for more in reversed(entries[1:]):
            listed.insert(i + 1, more)
    return tomlkit.dumps(document)


def _entries(table: Any, by_count: dict[int, list[str]], every: Sequence[str], named: bool) -> list[Any]:
    """The table itself with the first count, and copies of it with the others."""
    entries = [table, *(copy.deepcopy(table) for _ in range(len(by_count) - 1))][: len(by_count)]
    for entry, (count, types) in zip(entries, by_count.items(), strict=True):
        entry["count"] = count
        if named or len(types) < len(every):
            entry["types"] = types
    return entries


def check_out(out: Path, source: Path) -> None:
    """Raise InputError where the planned file can't be written beside its source."""
    if out.resolve().parent != source.resolve().parent:
        raise InputError(
            f"--out {out} is in another folder than {source}: paths in a study's file are relative to its folder, "
            "so give a name in the same one"
        )
    if out.resolve() == source.resolve() or (out.exists() and not out.is_file()):
        raise InputError(f"--out {out} is the study's own file or not a regular file: give another name")


def write_planned(out: Path, text: str) -> None:
    """Write the planned file. Raises InputError where another file is there; the same one is left alone."""
    if out.exists():
        if out.read_bytes() == text.encode():
            return
        raise InputError(f"{out} exists and has other contents: give another --out, or delete it")
    write_whole(out, text.encode())
