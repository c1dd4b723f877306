"""A served page follows its run: new cells come in, and the reader stays where they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forewarn.report import serve
from tests.browser.made_up import write_run

pytestmark = pytest.mark.browser


def test_a_new_checkpoint_comes_in_and_nothing_else_moves(show: Callable[..., Any], tmp_path: Path) -> None:
    from playwright.sync_api import expect

    root = tmp_path / "run"
    write_run(root, steps=(2, 11), types=4)
    server, threads, stop = serve.serve(root, port=0)
    try:
        opened = show(server.url)
        page = opened.page
        assert "8 of 8 cells" in page.locator(".lead").inner_text()
        page.locator("[name=type]").select_option(index=2)
        page.locator("#labels th", has_text="exploit").get_by_role("button").click()
        page.locator("details > summary", has_text="Every cell").click()
        page.evaluate("scrollTo(0, 400)")
        write_run(root, steps=(2, 11, 44), types=4)
        expect(page.locator(".lead")).to_contain_text("12 of 12 cells", timeout=120_000)
        expect(page.locator("#live")).to_have_text("New data")
        assert page.evaluate("scrollY") == 400
        assert page.locator(".panel:visible").count() == 1
        assert page.locator("#labels th[aria-sort=descending]").inner_text().startswith("exploit")
        assert page.locator("details[open] > summary", has_text="Every cell").count() == 1
        assert page.locator("#tip").is_hidden()
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
    expect(page.locator("#live")).to_contain_text("The server has stopped", timeout=120_000)
    opened.complaints[:] = [said for said in opened.complaints if "ERR_CONNECTION_REFUSED" not in said]
    for thread in threads:
        thread.join(10)
