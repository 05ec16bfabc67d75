# Everything sets up what is missing: a machine with Python >= 3.11, make and a package index is enough.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help setup pretrain evaluate notebooks test check bench sweep clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo "  Options of a run go into ARGS: make pretrain ARGS='method=simclr data=plankton data.root=FOLDER'"

setup: $(VENV)/.ready ## Make the environment in .venv, with the versions that were tested

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

pretrain: $(VENV)/.ready ## Pretrain; without ARGS a Siamese network on spirals, in about a minute
	@$(BIN)/python src/pretrain.py $(ARGS)

sweep: $(VENV)/.ready ## Sweep SimCLR's temperature and batch size on plankton
	@$(BIN)/python src/pretrain.py -m method=simclr data=plankton method.temperature=0.05,0.1,0.5 data.batch_size=64,128,256 $(ARGS)

evaluate: $(VENV)/.ready ## Look at what a run has learned, RUN=RUN_DIR; without it the latest
	@$(BIN)/python src/evaluate.py run=$(or $(RUN),$(shell ls -td runs/*/*/checkpoints 2>/dev/null | head -1 | xargs -r dirname)) $(ARGS)

notebooks: $(VENV)/.ready ## Run the notebooks on synthetic images, into runs/notebooks/*.html
	@$(BIN)/jupyter nbconvert --log-level=ERROR --execute --to html --output-dir runs/notebooks notebooks/*.ipynb
	@ls runs/notebooks/*.html

test: $(VENV)/.ready ## Run the tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto --dist loadfile $(ARGS)

check: $(VENV)/.ready ## Lint, check types and the floors, compose every configuration
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_conf.py

bench: $(VENV)/.ready ## Measure speed: pretraining against the bare loop, views, store, start-up, memory
	@$(BIN)/python benchmarks/throughput.py $(ARGS)

clean: ## Remove the environment and what tools left behind; runs stay
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
