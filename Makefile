# Two commands on a fresh machine: `make demo` and `make test`. Both need Python >= 3.11 and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow lint faults corrupt fuzz soak frontier gpu-study bench clean

$(BIN)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) -e .
	touch $@

$(BIN)/.installed-dev: $(BIN)/.installed
	$(PIP) -e '.[dev]'
	touch $@

demo: $(BIN)/.installed
	$(BIN)/revive demo --out demo-run

lint: $(BIN)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: $(BIN)/.installed-dev lint
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: $(BIN)/.installed-dev
	$(BIN)/python -m pytest

# Half an hour each on two quiet cores; `make test` has short forms. docs/reliability.md says what
# is promised.
faults: $(BIN)/.installed-dev
	PYTHONPATH=tests:tests/models $(BIN)/python -m reliability.faults

corrupt: $(BIN)/.installed-dev
	PYTHONPATH=tests:tests/models $(BIN)/python -m reliability.corrupt

# Hours: 10,000 files for each of fifteen parsers. `--cases 600` is enough to find most.
fuzz: $(BIN)/.installed-dev
	PYTHONPATH=tests:tests/models $(BIN)/python -m reliability.fuzz

soak: $(BIN)/.installed-dev
	PYTHONPATH=tests:tests/models $(BIN)/python -m reliability.soak

frontier: $(BIN)/.installed
	$(BIN)/python recipes/frontier.py

# What a GPU makes possible; needs the texts of the training, DATA=folder. MINUTES=50 stops in time.
DATA ?= ../shared/data
gpu-study: $(BIN)/.installed
	$(BIN)/python recipes/gpu_study.py --data $(DATA) $(if $(MINUTES),--minutes $(MINUTES))

# Under 15 minutes on two quiet cores; another machine's load makes its numbers worthless.
bench: $(BIN)/.installed
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) demo-run bench-result build dist
