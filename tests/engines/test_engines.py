"""Engines by name: what is not there is refused in one sentence before any work."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from forewarn.engines.registry import EngineSpec, open_engine
from forewarn.engines.transformers.engine import HFEngine
from forewarn.engines.vllm.requests import rank_to_start_for
from forewarn.errors import InputError, MissingExtraError, ModelError
from forewarn.organism.shipped import shipped_folder
from forewarn.study import Machine

BASE = str(shipped_folder() / "base")


def test_the_reference_engine_opens_by_name() -> None:
    assert isinstance(open_engine(EngineSpec(), BASE, dtype="float32"), HFEngine)


def test_unknown_engines_are_refused() -> None:
    with pytest.raises(InputError, match="engine is 'vlm': give transformers, vllm, or the URL of a vLLM server"):
        Machine(engine="vlm")


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_an_engine_that_is_not_installed_names_its_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"vllm is not installed: pip install 'forewarn\[vllm\]'"):
        Machine(engine="vllm")


def test_an_unreachable_server_is_one_sentence() -> None:
    with pytest.raises(ModelError, match=r"no vLLM server answers at http://127\.0\.0\.1:9"):
        open_engine(EngineSpec("http://127.0.0.1:9"), BASE, dtype="float32")


def test_a_port_that_is_no_vllm_server(tmp_path: Path) -> None:
    """A web server that answers anything with a page."""
    import http.server
    import threading

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with pytest.raises(ModelError, match="but not as a vLLM server does"):
            open_engine(EngineSpec(f"http://127.0.0.1:{server.server_port}"), BASE, dtype="float32")
        server.shutdown()
        thread.join()


def _adapter(folder: Path, config: object) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_vllm_is_started_for_the_smallest_rank_that_takes_all(tmp_path: Path) -> None:
    small = _adapter(tmp_path / "small", {"r": 6})
    larger = _adapter(tmp_path / "larger", {"r": 8, "rank_pattern": {"q_proj": 20}})
    huge = _adapter(tmp_path / "huge", {"r": 1024})
    assert rank_to_start_for([]) == 1
    assert rank_to_start_for([small]) == 8
    assert rank_to_start_for([small, larger]) == 32
    with pytest.raises(ModelError, match="a LoRA has rank 1024, but vLLM accepts at most 512"):
        rank_to_start_for([small, huge])
    with pytest.raises(ModelError, match="is of type IA3, but vLLM accepts only LoRAs"):
        rank_to_start_for([_adapter(tmp_path / "other", {"peft_type": "IA3"})])
    with pytest.raises(ModelError, match="a LoRA without a rank"):
        rank_to_start_for([_adapter(tmp_path / "without", {"peft_type": "LORA"})])
    with pytest.raises(ModelError, match="no readable adapter_config"):
        rank_to_start_for([_adapter(tmp_path / "list", [])])
