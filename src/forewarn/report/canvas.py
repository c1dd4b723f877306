"""Pictures of the page as SVG text: axes, and marks that say what they are on hover and on focus.

Colours and fonts are the page's style sheet's, by class, so that a picture is light, dark or printed as the page is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from forewarn.report.style import step_position

WIDTH, HEIGHT = 320, 200
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 22, 24
CHARACTER = 6.2
"""of a label on an axis, about"""


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places along one axis; values outside go to the nearer end."""

    low: float
    high: float
    start: float
    """the place of ``low``"""
    end: float

    def __call__(self, value: float) -> float:
        part = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)


def step_scale(steps: Iterable[int]) -> Scale:
    """log10 of the step, from the left of a picture to its right."""
    places = [math.log10(step_position(step)) for step in steps]
    low, high = min(places), max(places)
    pad = 0.06 * (high - low) or 0.3
    return Scale(low - pad, high + pad, LEFT, WIDTH - RIGHT)


def at_step(scale: Scale, step: float) -> float:
    return scale(math.log10(step_position(step) if isinstance(step, int) else step))


def number(value: float) -> str:
    """A coordinate: one decimal is a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    a, b, c, d = map(number, (x1, y1, x2, y2))
    return f'<path class="{css}" d="M{a} {b}L{c} {d}"/>'


def path(points: Sequence[tuple[float, float]], css: str, *, closed: bool = False) -> str:
    drawn = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return f'<path class="{css}" d="M{drawn}{"Z" if closed else ""}"/>' if points else ""


def text(x: float, y: float, words: str, css: str = "", anchor: str = "middle") -> str:
    named = f' class="{css}"' if css else ""
    return f'<text{named} x="{number(x)}" y="{number(y)}" text-anchor="{anchor}">{escape(words)}</text>'


SHAPES = {
    "circle": "M-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0-7.2 0Z",
    "square": "M-3.2-3.2H3.2V3.2H-3.2Z",
    "triangle-up": "M0-4.2L4 3.2H-4Z",
    "triangle-down": "M0 4.2L4-3.2H-4Z",
    "diamond": "M0-4.6L4.6 0L0 4.6L-4.6 0Z",
    "stroke": "M-5-.8H5V.8H-5Z",
    "cross": "M-3.4-3.4L3.4 3.4M-3.4 3.4L3.4-3.4",
}


def shape(name: str, x: float, y: float, css: str) -> str:
    return f'<path class="{css}" d="{SHAPES[name]}" transform="translate({number(x)} {number(y)})"/>'


def mark(x: float, y: float, css: str, says: str, drawn: str) -> str:
    """Something to point at: what it says is shown on hover and on focus, and read out."""
    target = f'<circle class="target" cx="{number(x)}" cy="{number(y)}" r="9"/>'
    return f'<g class="mark {css}" role="img" tabindex="-1"><title>{escape(says)}</title>{drawn}{target}</g>'


def svg(label: str, body: Iterable[str], *, width: int = WIDTH, height: int = HEIGHT) -> str:
    inner = "".join(body)
    return f'<svg viewBox="0 0 {width} {height}" role="group" aria-label="{escape(label)}">{inner}</svg>'


def step_axis(scale: Scale, steps: Sequence[int], y: float) -> str:
    """Ticks and as many labels as have room, the last first."""
    parts, free = [], math.inf
    for step in reversed(steps):
        x = at_step(scale, step)
        parts.append(line(x, y, x, y + 3, "axis"))
        label = f"{step:,}"
        half = max(len(label) * CHARACTER / 2, 4.0)
        middle = min(x, WIDTH - half - 1)
        if middle + half < free - 5 and middle - half > 0:
            parts.append(text(middle, y + 14, label))
            free = middle - half
    return line(LEFT, y, WIDTH - RIGHT, y, "axis") + "".join(parts)


def decade_axis(scale: Scale, decades: Iterable[int]) -> str:
    parts = []
    for decade in decades:
        y = scale(decade)
        parts.append(line(LEFT, y, WIDTH - RIGHT, y, "grid"))
        parts.append(text(LEFT - 6, y + 3.5, "1" if decade == 0 else f"1e{decade}", anchor="end"))
    return "".join(parts)
