# make demo and make test set up everything they need. make help lists all targets.
VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
DEMO   := runs/demo
# Only export tests need these. --no-deps keeps pip from installing another torch.
EXPORT_TEST_PACKAGES := timm==1.0.31 torchvision==0.28.0 huggingface_hub==2.4.0

.PHONY: help setup demo test lint clean
.DEFAULT_GOAL := help

help: ## list all targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(BIN)/.installed ## create .venv with everything that demo and test need

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,slurm,onnx]'
	@touch $@

$(BIN)/.export-tests: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(EXPORT_TEST_PACKAGES) && touch $@ \
	|| echo "timm and torchvision: cannot be installed; tests that compare with them are skipped"

demo: setup ## run a study on Fashion-MNIST: train, report, export (8 minutes on two cores); run again to resume
	$(BIN)/designspace sweep experiment=bottleneck_demo run=$(DEMO)
	$(BIN)/designspace report $(DEMO)
	$(BIN)/designspace export $(DEMO) --top 3 --to yaml,pycls,timm,torchvision,onnx,torch --out $(DEMO)/specs
	@echo "open $(DEMO)/report.html; the best specs are in $(DEMO)/specs/"

test: setup $(BIN)/.export-tests lint ## run all checks and tests in two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: setup ## check format, style, types and import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## remove .venv, caches and build files, but not runs/
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
