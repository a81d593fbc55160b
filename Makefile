# Everything happens in .venv; nothing is installed outside this folder.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint docs docs-test wheel wheel-test bench soak e2e clean

demo: .venv/installed  ## install, dub the bundled clip, say where the result is
	@$(BIN)/sidgan demo demo

test: .venv/dev  ## lint, types and tests
	$(BIN)/ruff check src tests tools benchmarks examples
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

lint: .venv/dev
	$(BIN)/ruff check src tests tools benchmarks examples
	$(BIN)/mypy

docs: .venv/dev  ## the documentation as a site in build/site, to be opened from disk
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "see build/site/index.html"

docs-test: .venv/dev  ## run what the documentation says, the slow parts too: half an hour
	SIDGAN_SLOW=1 $(BIN)/pytest tests/test_docs.py tests/test_examples.py

wheel: .venv/installed  ## dist/sidgan-VERSION-py3-none-any.whl, with weights
	$(BIN)/python tools/wheel.py

wheel-test: .venv/installed  ## build it, install it into an empty environment, dub outside the checkout
	$(BIN)/python tools/wheel.py --test

bench: .venv/dev  ## how close to its bound, how far from the field's design, memory, engines: a table
	$(BIN)/python benchmarks/bench.py --out build/bench.json

soak: .venv/dev  ## half an hour at flat memory, 100 kills, 500 damaged files: hours; SOAK=0.05 for a twentieth
	OMP_NUM_THREADS=1 $(BIN)/python tools/soak.py

e2e: .venv/e2e  ## the service in a real browser, killed, and asked odd things: minutes; pictures in build/e2e
	$(BIN)/pytest tests/e2e

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train]'
	@touch $@

.venv/dev: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.venv/e2e: .venv/dev
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[e2e]'
	@touch $@

clean:
	rm -rf .venv demo build dist
