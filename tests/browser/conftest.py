"""A real Chromium, driven by Playwright, and the pages that it opens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forewarn.report.from_run import report_run
from tests.browser.made_up import write_run

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = os.environ.get("FOREWARN_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "no Chromium here: `apt-get install chromium`, or name one in FOREWARN_CHROMIUM"
    with sync_playwright() as playwright:
        # a container's root has no sandbox to give; the pages are our own
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield opened
        opened.close()


class Opened:
    """A page with everything that it complained about or asked for."""

    def __init__(self, browser: Any, width: int, scheme: str, **settings: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **settings)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type != "log" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Open an address at a width; nothing may complain, and nothing may be asked of another place."""
    opened: list[tuple[str, Opened]] = []

    def show(url: str, width: int = 1280, scheme: str = "light", **settings: Any) -> Opened:
        one = Opened(browser, width, scheme, **settings)
        opened.append((url, one))
        one.page.goto(url)
        return one

    yield show
    for url, one in opened:
        one.context.close()
        assert not one.complaints
        assert all(asked.startswith((url, "data:")) for asked in one.requests), one.requests


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a made-up run of 26 types and 15 checkpoints."""
    root = tmp_path_factory.mktemp("large") / "run"
    write_run(root)
    return report_run(root).with_suffix(".html")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a made-up run of 4 types and 3 checkpoints."""
    root = tmp_path_factory.mktemp("small") / "run"
    write_run(root, steps=(2, 11, 44), types=4)
    return report_run(root).with_suffix(".html")


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with two runs, the truth and rivals beside the estimates."""
    from forewarn.report import write_report
    from tests.report.example import example_cells, example_forecasts

    folder = tmp_path_factory.mktemp("compared")
    said = example_forecasts()
    return write_report(
        example_cells(), said, folder, title="Made up", commands=["forewarn demo"], lead=["Made up."]
    ).with_suffix(".html")
