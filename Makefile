# Everything happens in .venv; nothing is installed outside this folder.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench soak clean

demo: .venv/installed  ## install, dub the bundled clip, say where the result is
	@$(BIN)/sidgan demo demo

test: .venv/dev  ## lint, types and tests
	$(BIN)/ruff check src tests tools benchmarks
	$(BIN)/mypy
	$(BIN)/pytest -n 2

lint: .venv/dev
	$(BIN)/ruff check src tests tools benchmarks
	$(BIN)/mypy

bench: .venv/dev  ## how close to its bound, how far from the field's design, memory, engines: a table
	$(BIN)/python benchmarks/bench.py --out build/bench.json

soak: .venv/dev  ## half an hour at flat memory, 100 kills, 500 damaged files: hours; SOAK=0.05 for a twentieth
	OMP_NUM_THREADS=1 $(BIN)/python tools/soak.py

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train]'
	@touch $@

.venv/dev: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv demo build dist
