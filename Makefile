# Everything sets up what is missing: a machine with Python >= 3.11, make and a package index is enough.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

# The comparisons: where they go, on what, how much. FLOWERS_ROOT=FOLDER and PLANKTON_ROOT=FOLDER name the images.
OUT ?= runs$(if $(QUICK),/quick)
FLOWERS ?= $(OUT)/flowers
PLANKTON ?= $(OUT)/plankton
PLANKTON_METHODS := simclr rotnet siamese softmax triplet arcface
PLANKTON_CLASSES ?= data.seen=[trichodesmium_puff,chaetognath_other,copepod_cyclopoid_oithona_eggs,protist_other,detritus_other,copepod_cyclopoid_oithona] data.unseen=[chaetognath_non_sagitta,trichodesmium_bowtie,appendicularian_slight_curve]
DRAWS ?= $(if $(QUICK),0$(COMMA)1$(COMMA)2,0$(COMMA)1$(COMMA)2$(COMMA)3$(COMMA)4)
FRACTIONS ?= $(if $(QUICK),0.1,0.1$(COMMA)1.0$(COMMA)0.25$(COMMA)0.05$(COMMA)0.01)
FLOWERS_DATA = $(if $(QUICK),data.source=synthetic data.size=48,$(if $(FLOWERS_ROOT),data.root=$(FLOWERS_ROOT)))
# Of plankton RotNet has half the epochs: it looks at each image four times, where others look at two views.
PLANKTON_DATA = $(if $(QUICK),data.source=synthetic data.size=48,$(if $(PLANKTON_ROOT),data.root=$(PLANKTON_ROOT) $(PLANKTON_CLASSES)) trainer.max_epochs=$(if $(filter rotnet,$*),8,15))
PRETRAIN ?= $(if $(QUICK),trainer.max_epochs=3)
FINETUNE ?= $(if $(QUICK),trainer.max_epochs=4)
COMMA := ,
SPACE := $(subst ,, )

.NOTPARALLEL: # two trainings at once would share the cores
.PHONY: help setup pretrain finetune plankton evaluate notebooks test check bench sweep clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo "  Options of a run go into ARGS: make pretrain ARGS='method=simclr data=plankton data.root=FOLDER'"

setup: $(VENV)/.ready ## Make the environment in .venv, with the versions that were tested

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

pretrain: $(VENV)/.ready ## Pretrain; without ARGS a Siamese network on spirals, in seconds
	@$(BIN)/python src/pretrain.py $(ARGS)

sweep: $(VENV)/.ready ## Sweep SimCLR's temperature and batch size on plankton; started again, it goes on
	@$(BIN)/python src/pretrain.py -m method=simclr data=plankton method.temperature=0.05,0.1,0.5 \
	  data.batch_size=64,128,256 hydra.sweep.dir=$(OUT)/sweep $(ARGS)

finetune: $(FLOWERS)/rotnet/results.json $(FLOWERS)/simclr/results.json ## With a tenth of flowers' labels, what does pretraining buy? QUICK=1: in minutes
	@$(BIN)/python src/finetune.py -m data=flowers $(FLOWERS_DATA) data.label_fraction=$(FRACTIONS) seed=$(DRAWS) \
	  checkpoint=null,$(FLOWERS)/rotnet,$(FLOWERS)/simclr hydra.sweep.dir=$(FLOWERS)/finetune $(FINETUNE) $(ARGS)

plankton: $(PLANKTON_METHODS:%=$(PLANKTON)/%/results.json) ## SimCLR, RotNet, Siamese and supervised baselines on classes that none has seen
	@$(BIN)/python src/evaluate.py run=$(subst $(SPACE),$(COMMA),$(PLANKTON_METHODS:%=$(PLANKTON)/%)) \
	  hydra.run.dir=$(PLANKTON)/comparison $(ARGS)

# A network that is there is not trained again; one that was stopped goes on.
$(FLOWERS)/%/results.json: | $(VENV)/.ready
	@$(BIN)/python src/pretrain.py $(if $(wildcard $(@D)/config.yaml),resume=$(@D),method=$* data=flowers \
	  $(FLOWERS_DATA) trainer.max_epochs=$(if $(filter simclr,$*),120,60) $(PRETRAIN) hydra.run.dir=$(@D))

$(PLANKTON)/%/results.json: | $(VENV)/.ready
	@$(BIN)/python src/pretrain.py $(if $(wildcard $(@D)/config.yaml),resume=$(@D),method=$* data=plankton \
	  $(PLANKTON_DATA) $(PRETRAIN) hydra.run.dir=$(@D))

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
