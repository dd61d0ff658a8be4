# Every target sets up all it needs: `make test` in a fresh clone creates .venv, installs the pinned versions and runs.

PYTHON ?= python3
VENV ?= .venv
PYTEST_WORKERS ?= 2
TEST_THREADS ?= 1
PYTEST_ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCHMARK_STAMP := $(VENV)/.installed-benchmarks
TORCH := $(shell grep '^torch==' requirements.lock)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Idle OpenMP threads that spin take the core another process needs.
export OMP_WAIT_POLICY ?= PASSIVE
export OMP_NUM_THREADS ?= 2
export HF_HUB_DISABLE_TELEMETRY ?= 1
export TOKENIZERS_PARALLELISM ?= false
export PYTHONUNBUFFERED ?= 1

.DEFAULT_GOAL := help
.PHONY: help install install-benchmarks quickstart test models-page quality format clean distclean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=python3.12 chooses the interpreter (3.11 or newer), PYTEST_ARGS='-k card' goes to pytest."

# The stamp is written last: an install that fails leaves none and the next target tries again.
$(STAMP): requirements.lock requirements-timm.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is missing or older than Python 3.11, which requirements.lock needs." >&2; \
		echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(BIN)/python" -m pip --version > /dev/null 2>&1 || "$(PYTHON)" -m venv "$(VENV)" || { \
		echo "Could not create $(VENV) (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "Installing requirements.lock into $(VENV); the first time takes some minutes."
	@{ $(PIP) install --only-binary :all: --no-deps $(TORCH) && \
	   $(PIP) install --only-binary :all: -r requirements.lock && \
	   $(PIP) install --only-binary :all: --no-deps -r requirements-timm.lock; } || { \
		echo >&2; \
		echo "Could not install requirements.lock with $$($(BIN)/python -V). If pip names a version it cannot find," >&2; \
		echo "that version has no wheel for this Python or platform. Remove $(VENV) and name another Python:" >&2; \
		echo "    rm -rf $(VENV) && make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; \
		echo "or leave the pinned versions: pip install -e '.[dev]' in an environment of your own." >&2; exit 1; }
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch "$@"

$(BENCHMARK_STAMP): $(STAMP) requirements-benchmarks.lock
	@$(PIP) install --only-binary :all: -c requirements.lock -r requirements-benchmarks.lock
	@touch "$@"

install: $(STAMP)  ## create .venv and install the pinned versions (every target below does so by itself)

install-benchmarks: $(BENCHMARK_STAMP)  ## the same, with the pretrained encoder of the benchmarks

quickstart: $(STAMP)  ## run examples/quickstart.py
	$(BIN)/python examples/quickstart.py

test: $(STAMP)  ## run the tests, offline
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=$(TEST_THREADS) $(BIN)/python -m pytest -n $(PYTEST_WORKERS) $(PYTEST_ARGS)

models-page: $(STAMP)  ## write the table of docs/models.md from the tests of model families
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=$(TEST_THREADS) $(BIN)/python -m pytest -n $(PYTEST_WORKERS) \
		tests/families --write-models-page

quality: $(STAMP)  ## lint, check the format and the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## repair what ruff can repair, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove caches, builds and outputs, keep .venv
	rm -rf build dist outputs runs .pytest_cache .ruff_cache .mypy_cache .ci-venv
	find . -path "./$(VENV)" -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove .venv
	rm -rf "$(VENV)"
