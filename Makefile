# Two commands do everything on a fresh machine with Python >= 3.11, git and make:
#     make demo      the main job, from nothing to answers about pictures
#     make test      the whole test suite
# The other targets are for those who work on the code; `make help` lists them all.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
CHIASM := $(VENV)/bin/chiasm

# The demo, line by line. To change what it shows, change it here and nowhere else.
define DEMO
$(CHIASM) pull
$(CHIASM) train first_light
$(CHIASM) chat --samples
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check soak bench clean

help:   ## say what each target does
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

demo: $(VENV)/.installed-log   ## fetch the parts, train, and answer questions about sample pictures
	$(DEMO)

test: $(VENV)/.installed-dev   ## run the whole test suite
	@$(PY) -m pytest

check: $(VENV)/.installed-dev   ## formatting, lint and types: what a commit must pass
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

soak: $(VENV)/.installed-dev   ## hours, not minutes: mutants of known bugs, long trials, many more examples
	$(PY) tests/peerbugs/run_mutants.py
	$(PY) -m pytest -m "not gpu" --hypothesis-profile=soak

bench: $(VENV)/.installed-dev   ## measure speed against peers (interleaved runs, ratios only)
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(PY) "$$script" || exit 1; done

clean:   ## remove the environment and every cache of tools; runs/ stays
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(1)' || { \
	  echo "Chiasm needs Python 3.11 or newer, but $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>&1 | head -n 1). Name another one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
	$(PY) -m pip install --upgrade pip

# A stamp per set of extras: a second `make test` installs nothing and needs no network.
$(VENV)/.installed-log: EXTRAS := log
$(VENV)/.installed-dev: EXTRAS := dev
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(PY)
	$(PY) -m pip install --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $@
