# make demo and make test do all their own set-up; make help lists the rest.
VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
DEMO   := runs/demo
# only the tests of exports use these; without their dependencies, none of which may bring another torch
COMPARED := timm==1.0.31 torchvision==0.28.0 huggingface_hub==2.4.0

.PHONY: help setup demo test lint clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(BIN)/.installed ## virtual environment with everything that demo and test need

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,slurm,onnx]'
	@touch $@

$(BIN)/.compared: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(COMPARED) && touch $@ \
	|| echo "no timm or torchvision: the tests that compare with them are skipped"

demo: setup ## draw, train, compare and export on Fashion-MNIST (about 8 minutes on two cores); again: resume
	$(BIN)/designspace sweep experiment=bottleneck_demo run=$(DEMO)
	$(BIN)/designspace report $(DEMO)
	$(BIN)/designspace export $(DEMO) --top 3 --to yaml,pycls,timm,torchvision,onnx,torch --out $(DEMO)/specs
	@echo "look at $(DEMO)/report.html and $(DEMO)/specs/"

test: setup $(BIN)/.compared lint ## tests, formatter, linter, type checker, import directions
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## remove the virtual environment, caches and build products; runs/ is left alone
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
