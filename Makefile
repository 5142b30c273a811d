# make demo and make test set up everything they need. make help lists all targets.
VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
DEMO   := runs/demo
# Only export tests need these. --no-deps keeps pip from installing another torch.
EXPORT_TEST_PACKAGES := timm==1.0.31 torchvision==0.28.0 huggingface_hub==2.4.0

.PHONY: help setup demo test lint docs clean
.DEFAULT_GOAL := help

help: ## list all targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(BIN)/.installed ## create .venv with everything that demo and test need
	@:

$(BIN)/.installed: pyproject.toml constraints.txt
	@echo "setup: installing PyTorch and about 100 packages into $(VENV) (1 to 5 minutes, depending on the network)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,slurm,onnx,watch]'
	@touch $@

$(BIN)/.export-tests: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(EXPORT_TEST_PACKAGES) && touch $@ \
	|| echo "timm and torchvision: cannot be installed; tests that compare with them are skipped"

demo: ## compare three design spaces on Fashion-MNIST: train, report, export; run again to resume
	@echo "make demo: set up .venv, train 36 networks from three design spaces, report, export"
	@$(MAKE) --no-print-directory setup
	@echo "1/3 training on Fashion-MNIST (about 5 minutes on two free cores; after an interruption, make demo resumes)"
	@$(BIN)/designspace sweep experiment=demo run=$(DEMO) > /dev/null
	@echo "2/3 writing the report"
	@$(BIN)/designspace report $(DEMO) > /dev/null
	@echo "3/3 exporting the best three models"
	@$(BIN)/designspace export $(DEMO) --top 3 --to yaml,timm,torchvision,onnx,torch --out $(DEMO)/specs > /dev/null
	@echo
	@$(BIN)/python -c "import designspace as ds; print(*ds.analysis.load('$(DEMO)').compare().sentences[:3], sep='\n')"
	@printf '\nreport:   %s\nexports:  %s\nrecords:  %s\n' $(DEMO)/report.html $(DEMO)/specs/ $(DEMO)/records/

test: setup $(BIN)/.export-tests lint ## run all checks and tests in two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: setup ## check format, style, types and import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup ## build the documentation site in site/; the tests build it, too
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "documentation: site/index.html"

clean: ## remove .venv, caches and build files, but not runs/
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
