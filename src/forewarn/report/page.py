"""One self-contained HTML page: pictures, tables, notes. It needs no network and no script; light, dark and print.

Its style sheet and script are files of ``assets/`` and written into the page, so that it opens from a disk or a mail
attachment alike. The script filters, sorts and explains; without it everything is there and in order.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape as _escape
from importlib.resources import files

from forewarn.report.anchors import with_code
from forewarn.report.glossary import glossary_html
from forewarn.report.render_page import as_html
from forewarn.report.table import Table
from forewarn.text import printable, printable_lines


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with text, pictures and tables below it."""

    key: str
    """the anchor: letters, digits and hyphens"""
    title: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    lines: tuple[str, ...] = ()
    """remarks below the tables"""
    html: str = ""
    """markup made by this package, everything of others in it escaped; below the text"""
    folded: str = ""
    """what to click on to see the tables (opened in print); empty: they are open"""
    run: str = ""
    """the run that all of it is about, by which the page filters; empty: several, or none"""


@dataclass(frozen=True, slots=True)
class Names:
    """What the page can be filtered by."""

    runs: tuple[str, ...] = ()
    exploit_types: tuple[str, ...] = ()


def page(
    title: str,
    lead: Sequence[str],
    sections: Sequence[Section],
    commands: Sequence[str],
    *,
    names: Names = Names(),
    answer: str = "",
    version: str = "",
) -> str:
    """The whole page: ``lead`` paragraphs and the ``answer`` (markup), sections, and the commands that regenerate it.

    ``version``: of what it shows, where a server follows a run; empty for a page that is written once.
    """
    script = asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # What others wrote is escaped; should that ever fail, the browser runs no script but this one and asks nobody.
    policy = f"script-src 'sha256-{digest}'; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    policy += "connect-src 'self'"
    links = "".join(f'<li><a href="#{s.key}">{escape(s.title)}</a></li>' for s in sections)
    paragraphs = "\n".join(f"<p>{escape(text)}</p>" for text in lead)
    live = f' data-version="{version}"' if version else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{asset("page.css")}</style>
</head>
<body>
<a class="skip" href="#answer">Skip to the answer</a>
<main{live}>
<header><h1>{escape(title)}</h1>
<nav aria-label="Sections"><ul>{links}<li><a href="#terms">Terms</a></li></ul></nav></header>
{_filters(names)}
<section id="answer" aria-label="Answer"><div class="lead">{paragraphs}</div>{answer}</section>
{"".join(map(_section, sections))}
<section id="terms"><h2>Terms</h2>{glossary_html()}</section>
<section id="commands"><h2>How this was made</h2>
<p>These commands make everything on this page again:</p>
<pre>{_escape(printable_lines(chr(10).join(map(printable, commands))))}</pre></section>
</main>
<div id="tip" role="tooltip" hidden></div>
<p id="live" role="status"></p>
<script>{script}</script>
</body>
</html>
"""


def asset(name: str) -> str:
    """A file of ``assets/``."""
    return (files("forewarn.report") / "assets" / name).read_text(encoding="utf-8")


def escape(text: str) -> str:
    """Text as HTML that shows it as it is."""
    return _escape(printable(text))


def _filters(names: Names) -> str:
    """Choices of run and type, which the script shows where there is something to choose."""
    if len(names.runs) < 2 and len(names.exploit_types) < 2:
        return ""
    runs = "".join(f"<option>{escape(run)}</option>" for run in names.runs)
    types = "".join(f"<option>{escape(name)}</option>" for name in names.exploit_types)
    return (
        '<form class="filters" hidden aria-label="Filter"><label>Run <select name="run"><option value="">all</option>'
        f'{runs}</select></label><label>Type <select name="type"><option value="">all</option>{types}</select></label>'
        '<label>Find <input name="words" type="search" placeholder="part of a type" size="16" autocomplete="off">'
        '</label><button type="reset">Show all</button><output></output></form>'
    )


def _section(section: Section) -> str:
    text = f"<p>{escape(section.text)}</p>" if section.text else ""
    tables = "\n".join(as_html(table) for table in section.tables)
    if section.folded and tables:
        tables = f"<details><summary>{escape(section.folded)}</summary>{tables}</details>"
    lines = "".join(f"<li>{with_code(line)}</li>" for line in section.lines)
    below = f"<ul>{lines}</ul>" if lines else ""
    run = f' data-run="{escape(section.run)}"' if section.run else ""
    inside = f"<h2>{escape(section.title)}</h2>\n{text}{section.html}{tables}{below}"
    return f'\n<section id="{section.key}"{run}>{inside}</section>\n'
