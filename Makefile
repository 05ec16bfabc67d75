# Every target sets up what is missing: Python >= 3.11, make and a package index are enough.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
COMMA := ,
SPACE := $(subst ,, )

# The two comparisons. FLOWERS_ROOT=FOLDER and PLANKTON_ROOT=FOLDER name the images; QUICK=1 uses a few synthetic ones.
OUT ?= runs$(if $(QUICK),/quick)
FLOWERS ?= $(OUT)/flowers
PLANKTON ?= $(OUT)/plankton
METHODS ?= simclr rotnet siamese softmax triplet arcface
REPEATS ?= $(or $(DRAWS),$(if $(QUICK),0$(COMMA)1$(COMMA)2,0$(COMMA)1$(COMMA)2$(COMMA)3$(COMMA)4))
FRACTIONS ?= $(if $(QUICK),0.1,0.1$(COMMA)1.0$(COMMA)0.25$(COMMA)0.05$(COMMA)0.01)
SYNTHETIC := data.source=synthetic data.size=48
FLOWERS_DATA = $(if $(QUICK),$(SYNTHETIC),$(if $(FLOWERS_ROOT),data.root=$(FLOWERS_ROOT)))
# RotNet gets half the epochs: it sees four rotations of each image, the others two views.
PLANKTON_DATA = $(if $(QUICK),data=plankton $(SYNTHETIC),$(if $(PLANKTON_ROOT),experiment=plankton_seen6 data.root=$(PLANKTON_ROOT),data=plankton)) trainer.max_epochs=$(if $(filter rotnet,$*),8,15)
PRETRAIN ?= $(if $(QUICK),trainer.max_epochs=3)
FINETUNE ?= $(if $(QUICK),trainer.max_epochs=4)

.NOTPARALLEL: # trainings share the cores
.PHONY: help setup pretrain finetune plankton label-demo evaluate notebooks test test-fast check bench sweep clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo "  Overrides go into ARGS: make pretrain ARGS='method=simclr data=plankton data.root=FOLDER'"

setup: $(VENV)/.ready ## Make the environment in .venv, with the tested versions

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

pretrain: $(VENV)/.ready ## Pretrain; without ARGS a Siamese network on spirals, in seconds
	@$(BIN)/python src/pretrain.py $(ARGS)

sweep: $(VENV)/.ready ## Sweep SimCLR's temperature and batch size on plankton; run again to resume
	@$(BIN)/python src/pretrain.py -m method=simclr data=plankton method.temperature=0.05,0.1,0.5 \
	  data.batch_size=64,128,256 hydra.sweep.dir=$(OUT)/sweep $(ARGS)

finetune: $(FLOWERS)/rotnet/results.json $(FLOWERS)/simclr/results.json ## Finetune flowers on 1-100% of the labels, with and without pretraining; QUICK=1: minutes
	@$(BIN)/python src/finetune.py -m data=flowers $(FLOWERS_DATA) data.label_fraction=$(FRACTIONS) seed=$(REPEATS) \
	  checkpoint=null,$(FLOWERS)/rotnet,$(FLOWERS)/simclr hydra.sweep.dir=$(FLOWERS)/finetune $(FINETUNE) $(ARGS)

plankton: $(METHODS:%=$(PLANKTON)/%/results.json) ## Compare SimCLR, RotNet, Siamese and supervised baselines on unseen plankton classes
	@$(BIN)/python src/evaluate.py run=$(subst $(SPACE),$(COMMA),$(METHODS:%=$(PLANKTON)/%)) \
	  hydra.run.dir=$(PLANKTON)/comparison $(ARGS)

# A finished pretraining is kept; an interrupted one is resumed.
$(FLOWERS)/%/results.json: | $(VENV)/.ready
	@$(BIN)/python src/pretrain.py $(if $(wildcard $(@D)/config.yaml),resume=$(@D),experiment=flowers_$* \
	  $(FLOWERS_DATA) $(PRETRAIN) hydra.run.dir=$(@D))

$(PLANKTON)/%/results.json: | $(VENV)/.ready
	@$(BIN)/python src/pretrain.py $(if $(wildcard $(@D)/config.yaml),resume=$(@D),method=$* \
	  $(PLANKTON_DATA) $(PRETRAIN) hydra.run.dir=$(@D))

label-demo: $(VENV)/.ready ## Label a flat copy of PLANKTON_ROOT=FOLDER by an oracle, through the page; predict and count the rest
	@$(BIN)/python benchmarks/label_demo.py $(or $(PLANKTON_ROOT),$(error label-demo needs PLANKTON_ROOT=FOLDER of class folders)) $(ARGS)

evaluate: $(VENV)/.ready ## Evaluate a run, RUN=RUN_DIR; without it the latest
	@$(BIN)/python src/evaluate.py run=$(or $(RUN),$(shell ls -td runs/*/*/checkpoints 2>/dev/null | head -1 | xargs -r dirname)) $(ARGS)

notebooks: $(VENV)/.ready ## Run the notebooks on synthetic images, into runs/notebooks/*.html
	@$(BIN)/jupyter nbconvert --log-level=ERROR --execute --to html --output-dir runs/notebooks notebooks/*.ipynb
	@ls runs/notebooks/*.html

test: $(VENV)/.ready ## Run all tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto --dist loadfile $(ARGS)

test-fast: $(VENV)/.ready ## Run the quick tests, without processes and whole runs; under a minute
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto --dist loadfile \
	  -m "not subprocess and not slow and not images and not whole_run" $(ARGS)

check: $(VENV)/.ready ## Lint, check types and import layers, compose every configuration
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_conf.py

bench: $(VENV)/.ready ## Measure speed against a bare loop and lightly; with PLANKTON_ROOT=FOLDER also time to quality, an hour
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	@$(BIN)/python benchmarks/throughput.py $(ARGS)
	$(if $(PLANKTON_ROOT),@$(BIN)/python benchmarks/time_to_quality.py $(PLANKTON_ROOT) --minutes 10)

clean: ## Remove the environment and caches; runs stay
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
