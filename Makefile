# The commands that people and CI run. `make demo` is the quickest look; `make test` is what CI runs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := $(wildcard constraints.txt)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(LOCK:%=--constraint %)

.PHONY: demo test test-long soak bench check format docs screenshots clean

demo: $(VENV)/.installed
	@$(BIN)/provisioner demo $(ARGS)

# Four workers on two cores, as many tests wait for a process; a file is one's, as its tests may share a server.
TEST := $(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder
# What was compiled once is kept, also where the environment says otherwise: it is most of a process's start.
test test-long soak: export PYTHONDONTWRITEBYTECODE :=

test: $(VENV)/.installed-dev
	@$(MAKE) --no-print-directory --jobs 2 check tests/__pycache__
	$(TEST) $(ARGS)

# In a clean clone what pytest makes of the tests is made beside mypy, once, and not by three workers at a time.
tests/__pycache__: | $(VENV)/.installed-dev
	@-$(BIN)/pytest --collect-only --quiet >/dev/null

# Promises in full size, of which `test` tries a smaller one: 300 VMs, many random lives, many examples.
test-long: $(VENV)/.installed-dev
	$(TEST) -m 'long or hypothesis' --hypothesis-profile thorough $(ARGS)

# Random lives, faults and kills, then the judge; SOAK_SEED=… repeats a run's choices.
soak: export SOAK_SECONDS ?= 600
soak: $(VENV)/.installed-dev
	$(BIN)/pytest tests/acceptance/test_soak.py $(ARGS)

# Measures this machine and writes docs/performance.md; PARTS="accept starting" measures some and prints them.
bench: $(VENV)/.installed-bench
	$(BIN)/python -m bench $(PARTS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# Writes the reference pages anew from the code, then the site into site/.
docs: $(VENV)/.installed-dev
	$(BIN)/python docs/reference.py
	$(BIN)/mkdocs build --quiet --strict

# The README's pictures, taken anew; SHOTS=FOLDER takes every page in both themes and two widths instead.
screenshots: $(VENV)/.installed-dev
	$(BIN)/python docs/screenshots.py $(SHOTS)

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml $(LOCK) | $(BIN)/pip
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(LOCK) | $(BIN)/pip
	$(INSTALL) --editable '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	$(INSTALL) --editable '.[dev,bench]'
	@touch $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer is needed: make PYTHON=python3.12 …' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo 'No virtual environment could be made; on Debian: apt install python3-venv' >&2; exit 1; }
