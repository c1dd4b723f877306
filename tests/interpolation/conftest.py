from __future__ import annotations

import pytest

from tests.tiny_world import TinyWorld, build


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    return build(tmp_path_factory.mktemp("tiny-world"))
