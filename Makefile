# make bench   install the package and run the quick suite
# make test    lint, types and tests; `make lint` and `make tests` are its parts
# make tests   in two processes: compilation keeps no more than a core busy in each
# make smoke   the quick suite at the smallest size, compiled fast rather than well
# make docs    build the documentation, build/docs/index.html; a warning is an error
# make notebooks  execute the notebooks at small size, compiled fast rather than well
# make clean   remove the environment and the caches

PYTHON ?= python3
BIN := .venv/bin
UV := $(shell command -v uv 2>/dev/null)
INSTALL := $(if $(UV),uv pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)
# And numpy's products are small: threads that share them only wait for each other.
COMPILE_FAST = OPENBLAS_NUM_THREADS=1 XLA_FLAGS="$$($(BIN)/python tests/fast_to_compile.py)"

.PHONY: bench test tests lint smoke docs notebooks clean

bench: .venv/installed
	$(BIN)/seqrl run quick

smoke: .venv/installed
	$(COMPILE_FAST) $(BIN)/seqrl run quick --steps 4000 --seeds 2 --out runs/smoke

test: lint tests

tests: .venv/tested
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations=40 --durations-min=5

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python benchmarks/readme.py --check
	$(BIN)/python -m seqrl_jax.results.schema --check

docs: .venv/documented
	$(BIN)/python -m sphinx -W --keep-going -q docs build/docs

notebooks: .venv/tested
	SEQRL_NOTEBOOK_SIZE=small $(COMPILE_FAST) $(BIN)/python notebooks/execute.py --at-once 2

.venv/created:
	$(if $(UV),uv venv --quiet --python $(PYTHON) .venv,$(PYTHON) -m venv .venv)
	touch $@

.venv/installed: .venv/created pyproject.toml constraints.txt
	$(INSTALL) --constraint constraints.txt --editable .
	touch $@

.venv/tested: .venv/created pyproject.toml constraints.txt
	$(INSTALL) --constraint constraints.txt --editable '.[test]'
	touch $@ .venv/installed

.venv/documented: .venv/created pyproject.toml constraints.txt
	$(INSTALL) --constraint constraints.txt --editable '.[docs]'
	touch $@ .venv/installed

clean:
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build/docs docs/generated runs/smoke
