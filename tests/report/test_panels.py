"""Pictures of rates: nothing outside its panel, forecasts to their horizon, calls against what came of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

import polars as pl

from forewarn.report import check_cells, check_forecasts
from forewarn.report.calls import calls_html, run_calls
from forewarn.report.grids import reach_html
from forewarn.report.panels import rate_panels
from forewarn.report.style import axis_floor
from tests.report.example import TYPES, example_cells, example_forecasts


def test_nothing_is_drawn_outside_its_panel() -> None:
    wild = example_cells().with_columns(
        log10_p=pl.when(pl.col("exploit_type") == "timing_leak").then(-13.0).otherwise("log10_p"),
        lo=pl.when(pl.col("exploit_type") == "timing_leak").then(-46.0).otherwise("lo"),
        hi=pl.when(pl.col("exploit_type") == "timing_leak").then(-12.5).otherwise("hi"),
    )
    cells = check_cells(wild)
    assert axis_floor(cells) == -8
    panels = rate_panels(cells, check_forecasts(None), "rl")
    assert len(panels) == len(TYPES)
    for panel in panels:
        drawn = ElementTree.fromstring(panel.svg)
        _, _, width, height = map(float, drawn.attrib["viewBox"].split())
        for x, y in places(drawn):
            assert 0 <= x <= width
            assert 0 <= y <= height
        below = [title for title in drawn.itertext() if "below the axis" in title]
        assert bool(below) == (panel.exploit_type == "timing_leak")


def places(drawn: ElementTree.Element) -> Iterator[tuple[float, float]]:
    """Where the lines of a picture go and where its marks stand."""
    for element in drawn.iter():
        if moved := re.match(r"translate\((\S+) (\S+)\)", element.attrib.get("transform", "")):
            yield float(moved[1]), float(moved[2])
        elif element.tag == "path":
            yield from ((float(x), float(y)) for x, y in re.findall(r"[ML](\S+?) ([^L Z]+)", element.attrib["d"]))
        elif element.tag == "text":
            yield float(element.attrib["x"]), float(element.attrib["y"])


def test_a_forecast_is_drawn_to_its_horizon() -> None:
    path = {"path_steps": [240, 500, 960], "path_lo": [-3.0, -3.0, -3.0], "path_median": [-2.5, -2.0, -1.5],
            "path_hi": [-2.0, -1.0, -0.1]}  # fmt: skip
    said = example_forecasts().filter((pl.col("run") == "rl") & (pl.col("n_checkpoints") == 4))
    said = said.drop(path).with_columns(pl.lit(pl.Series([value])).first().alias(name) for name, value in path.items())
    panels = rate_panels(check_cells(example_cells()), check_forecasts(said), "rl")
    for panel in panels:
        assert panel.svg.count('class="band"') == 1
        assert "Forecast for step 960: 0.032 [1.0e-3, 0.79]" in panel.svg
        assert ">960<" in panel.svg
    plain = rate_panels(check_cells(example_cells()), check_forecasts(None), "rl")
    assert not any("band" in panel.svg for panel in plain)


def test_calls_are_held_against_what_came() -> None:
    cells = check_cells(example_cells())
    said = example_forecasts().with_columns(
        first_call_step=pl.when(pl.col("exploit_type") == "env_probe").then(5).otherwise("first_call_step"),
        call_horizon_step=pl.lit(None, pl.Int64),
    )
    outcomes = {one.exploit_type: one.outcome for one in run_calls(cells, check_forecasts(said), "rl")}
    assert outcomes["env_probe"] == "false"
    assert outcomes["hardcoded_tests"] == "true"
    assert outcomes["timing_leak"] == "none"
    still = said.with_columns(emerged=pl.lit(None, pl.Boolean), step_over_10pct=pl.lit(None, pl.Int64))
    for reach, outcome in ((240, "false"), (241, "open")):
        mine = still.with_columns(call_horizon_step=pl.lit(reach))
        found = {one.exploit_type: one for one in run_calls(cells, check_forecasts(mine), "rl")}
        assert found["env_probe"].outcome == outcome
    html = calls_html([found["env_probe"]])
    visible = found["env_probe"].visible
    assert visible is None
    assert ">open</span> until step 241; before any visible hack<" in html


def test_a_cell_without_a_hit_is_not_one_that_is_not_measured() -> None:
    cells = check_cells(example_cells()).filter(pl.col("run") == "rl")
    first = cells.row(0, named=True)
    one = (
        (pl.col("run") == "rl") & (pl.col("step") == first["step"]) & (pl.col("exploit_type") == first["exploit_type"])
    )
    whole, missing = reach_html(cells, "rl"), reach_html(cells.filter(~one), "rl")
    assert whole.count('title="not measured"') == 0
    assert missing.count('title="not measured"') == 1
    assert missing.count("<td") == whole.count("<td")
