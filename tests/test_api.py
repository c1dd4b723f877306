"""What ``import forewarn`` offers: every name resolves, is on docs/api.md, and the page is what the docstrings say."""

from __future__ import annotations

import importlib
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs import api

import forewarn


@pytest.mark.parametrize("name", forewarn.__all__)
def test_every_name_resolves_to_what_its_home_has(name: str) -> None:
    value = getattr(forewarn, name)
    if name != "__version__":
        assert value is getattr(importlib.import_module(forewarn._HOME_OF[name]), name)
    assert name in dir(forewarn)


def test_the_list_is_that_of_the_homes() -> None:
    assert {*forewarn._HOME_OF, "__version__"} == set(forewarn.__all__)
    typed = re.findall(r" as (\w+)$", Path(forewarn.__file__).read_text(), flags=re.MULTILINE)
    assert sorted(typed) == sorted(forewarn._HOME_OF), "type checkers see the same names"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = forewarn.nonsense


def test_the_page_is_up_to_date() -> None:
    assert api.PAGE.read_text() == api.page(), "run docs/api.py"


def test_the_import_takes_no_time() -> None:
    code = "import time; t = time.process_time(); import forewarn; print(time.process_time() - t)"
    took = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(took) < 0.1


def test_the_example_on_log_ratios_is_right() -> None:
    page = api.PAGE.read_text()
    [example] = re.findall(r"run by tests/test_api.py -->\n```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "docs/api.md", "exec"), names)
    ratios = names["log_ratio_NS"]
    assert ratios[0].tolist() == pytest.approx([0.0, math.log(0.8 / 0.2) + math.log(0.7 / 0.1)])  # type: ignore[index]
    assert names["estimate"].n_hits == 1  # type: ignore[attr-defined]
