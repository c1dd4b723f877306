"""One self-contained HTML page: charts, tables, notes. No network; light and dark; prints.

The Vega libraries are written into the page, so it opens from a disk or a mail attachment alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape as _escape
from typing import Any

from forewarn.report.render import as_html
from forewarn.report.tables import Table
from forewarn.text import printable, printable_lines

VEGA_LITE_VERSION = "6.4"

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --soft: #f4f5f7; --line: #d8dce1; --muted: #59626d;
  --strong: #e8f1f8; --accent: #0072b2; --estimate: #0072b2; --tokens: #d55e00; --words: #b4568c; --brute: #00805f;
  --donor: #fde3cf; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e6ea; --paper: #16191d; --soft: #1f2429; --line: #363d45;
  --muted: #9aa4af; --strong: #17303f; --accent: #58b1e4; --estimate: #58b1e4; --tokens: #f0904a; --words: #e29ac4;
  --brute: #2cc79b; --donor: #5a3a1e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: .5rem 0; }
nav a { color: var(--accent); margin-right: 1.25rem; text-decoration: none; }
nav a:hover { text-decoration: underline; }
pre { background: var(--soft); padding: .75rem 1rem; overflow-x: auto; border-radius: 6px; font-size: .88rem; }
.note { color: var(--muted); font-size: .85rem; }
.scroll, .chart { overflow-x: auto; margin: 1rem 0 .25rem; }
.chart { color: var(--ink); }
h1, h2, p, li, summary { overflow-wrap: anywhere; }
.key { font-size: .85rem; color: var(--muted); } .key span { display: inline-block; margin-right: 1rem; }
.key svg { width: 14px; height: 14px; margin-right: .35rem; vertical-align: -2px; fill: var(--estimate); }
.key .line { stroke: var(--estimate); fill: none; stroke-width: 1.5; }
.key .hollow { stroke: var(--estimate); fill: var(--paper); stroke-width: 1.8; }
.key .dashed { stroke: var(--ink); stroke-dasharray: 3 2; }
.transcript { white-space: pre-wrap; overflow-wrap: anywhere; } .donor { background: var(--donor); }
.channel { font-size: .85rem; color: var(--muted); margin: .5rem 0 -.25rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; font-size: 1rem; padding-bottom: .35rem; }
th { text-align: left; vertical-align: bottom; color: var(--muted); border-bottom: 1px solid var(--line); }
th, td { padding: .25rem .7rem .25rem 0; white-space: nowrap; }
td { border-bottom: 1px solid var(--soft); }
.number { text-align: right; }
tr.strong td { background: var(--strong); font-weight: 600; }
details { margin: 1rem 0; } summary { cursor: pointer; font-weight: 600; }
@media print {
  :root { --estimate: #0072b2; --tokens: #d55e00; --words: #b4568c; --brute: #00805f; --donor: #fde3cf;
    --ink: #000; --paper: #fff; --soft: #f4f5f7; --line: #ccc; --muted: #444; --strong: #eef4f9; }
  body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; }
  .scroll, .chart { overflow: visible; } table { font-size: 6.5pt; }
  td, th { padding-right: .35rem; white-space: normal; }
  tr, .chart { break-inside: avoid; } .chart svg { max-width: 100%; height: auto; }
}
"""

KEY_TO_MARKS = """<p class="key">
<span><svg viewBox="0 0 14 14"><path d="M7 1V13" class="line"/><circle cx="7" cy="7" r="4"/></svg>resolved</span>
<span><svg viewBox="0 0 14 14"><path d="M7 1V13" class="line"/><circle cx="7" cy="7" r="3" class="hollow"/></svg>
unresolved</span>
<span><svg viewBox="0 0 14 14"><path d="M7 2V9" class="line"/><path d="M3 8H11L7 13Z"/></svg>no hit: upper bound</span>
<span><svg viewBox="0 0 14 14"><path d="M2 4H12L7 12Z" class="hollow"/></svg>lies below the axis</span>
<span><svg viewBox="0 0 14 14"><path d="M0 7H14" class="dashed"/></svg>10 %</span>
</p>
"""
"""the marks that the charts' own legends have no place for"""

SCRIPT = """
const charts = Object.entries(JSON.parse(document.getElementById("charts").textContent));
const most = Object.fromEntries(charts.map(([id, spec]) => [id, spec.columns]));
function draw() {
  for (const [id, spec] of charts) {
    const panel = document.getElementById(id);
    const width = panel.parentElement.clientWidth;
    if (most[id]) spec.columns = Math.max(1, Math.min(most[id], Math.floor(width / ((spec.spec.width || 250) + 60))));
    spec.config.legend.columns = width < 600 ? 1 : 2;
    vegaEmbed(panel, spec, { renderer: "svg", actions: false, tooltip: { theme: "custom" } });
  }
}
draw();
let drawn = innerWidth;
addEventListener("resize", () => { if (Math.abs(innerWidth - drawn) > 40) { drawn = innerWidth; draw(); } });
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(d => { d.open = true; }));
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with text, a chart and tables below it."""

    key: str
    """the anchor: letters, digits and hyphens"""
    title: str
    text: str = ""
    chart: dict[str, Any] | None = None
    """a Vega-Lite specification"""
    tables: tuple[Table, ...] = ()
    lines: tuple[str, ...] = ()
    """remarks below the tables"""
    html: str = ""
    """markup made by this package, everything of others in it escaped"""
    key_to_marks: bool = False
    """whether the marks of rate charts are explained above the chart"""
    folded: bool = False
    """tables behind a click (opened in print)"""


def page(title: str, lead: Sequence[str], sections: Sequence[Section], commands: Sequence[str]) -> str:
    """The whole page: ``lead`` paragraphs, sections, and the commands that regenerate it."""
    links = " ".join(f'<a href="#{s.key}">{escape(s.title)}</a>' for s in sections)
    paragraphs = "\n".join(f"<p>{escape(text)}</p>" for text in lead)
    charts = {f"chart-{s.key}": s.chart for s in sections if s.chart is not None}
    # A "<" can end the script element or change how its end is found, whatever the JSON around it.
    data = json.dumps(charts, allow_nan=False, separators=(",", ":")).replace("<", r"\u003c")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
{paragraphs}
<nav>{links}</nav>
{"".join(map(_section, sections))}
<section id="commands"><h2>How this was made</h2>
<p>These commands make everything on this page again:</p>
<pre>{_escape(printable_lines(chr(10).join(map(printable, commands))))}</pre></section>
<script type="application/json" id="charts">{data}</script>
<script>{_libraries()}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""


def escape(text: str) -> str:
    """Text as HTML that shows it as it is."""
    return _escape(printable(text))


def _section(section: Section) -> str:
    text = f"<p>{escape(section.text)}</p>" if section.text else ""
    chart = f'<div class="chart"><div id="chart-{section.key}"></div></div>' if section.chart is not None else ""
    chart = (KEY_TO_MARKS if section.key_to_marks else "") + chart
    tables = "\n".join(as_html(table) for table in section.tables)
    if section.folded:
        tables = f"<details><summary>Every cell</summary>{tables}</details>"
    lines = "".join(f"<li>{escape(line)}</li>" for line in section.lines)
    below = (f"<ul>{lines}</ul>" if lines else "") + section.html
    return f'\n<section id="{section.key}"><h2>{escape(section.title)}</h2>\n{text}{chart}{tables}{below}</section>\n'


def _libraries() -> str:
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE_VERSION)
    return bundle.replace("</script", r"<\/script")
