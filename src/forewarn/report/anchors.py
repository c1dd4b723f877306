"""Names that others chose, as the page shows them and as names of its places."""

from __future__ import annotations

import re
from html import escape

from forewarn.text import printable


def _part(name: str) -> str:
    """Letters, digits and hyphens stay; whatever else becomes its code, so that two names never become one."""
    return re.sub(r"[^A-Za-z0-9-]", lambda found: f"_{ord(found[0]):x}_", name)


def breakable(name: str) -> str:
    """A name as markup that a narrow column may break after its underscores."""
    return escape(printable(name)).replace("_", "_<wbr>")


def with_code(text: str) -> str:
    """Words as markup; what stands between backticks is a command."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(printable(text)))


def run_anchor(run: str) -> str:
    return f"run-{_part(run)}"


def panel_anchor(run: str, exploit_type: str) -> str:
    return f"rates-{_part(run)}-{_part(exploit_type)}"


def transcript_anchor(run: str, exploit_type: str) -> str:
    return f"hits-{_part(run)}-{_part(exploit_type)}"
