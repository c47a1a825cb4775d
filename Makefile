# make repro | test | check | help
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DVC    := $(BIN)/dvc
export DVC_NO_ANALYTICS := 1

# requirements/full.txt or requirements/light.txt (no torch, no openai)
REQUIREMENTS ?= requirements/full.txt
INSTALLED    := $(VENV)/installed-$(notdir $(REQUIREMENTS))

.DEFAULT_GOAL := help
.PHONY: help install repro pull predict study notebooks test soak check audit keys format readme lock clean

help: ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: $(INSTALLED) ## the environment, from hash-pinned requirements

$(INSTALLED): $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip --disable-pip-version-check install --require-hashes --no-deps -r $(REQUIREMENTS)
	@touch $@

repro: install ## raw tweets to submission/submission.csv and the comparison table
	$(BIN)/python -m pipeline.mend
	PATH="$(abspath $(BIN)):$$PATH" $(DVC) --wait-for-lock repro
	@cat evaluate/table.md

pull: install ## results of the stages that ran from the DVC remote, and the store of LLM answers made anew from their transcripts
	$(DVC) pull $$(sed -n 's/^  \([A-Za-z0-9_@-]*\):$$/\1/p' dvc.lock | grep -Fx "$$($(DVC) stage list --name-only)")
	$(BIN)/python -m pipeline.llm.answer_store rebuild

INPUT  ?= -
OUTPUT ?= -

predict: install ## score new texts: INPUT=new.csv OUTPUT=scores.csv CLASSIFIER=naive_bayes
	@PATH="$(abspath $(BIN)):$$PATH" python -m pipeline.predict --input "$(INPUT)" --output "$(OUTPUT)" \
		$(if $(CLASSIFIER),--classifier "$(CLASSIFIER)") $(if $(FORMAT),--format "$(FORMAT)")

readme: install ## put the last comparison into README.md
	$(BIN)/python -m pipeline.verdict.table

PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

study: install ## write docs/study.md from the last run
	$(BIN)/python -m pipeline.verdict.study

notebooks: install ## the notebooks on the last run, as pages in notebooks/html
	$(BIN)/python -m pipeline.notebooks.pages

test: install ## all tests
	$(PYTEST)

soak: install ## kill -9, full disks and little memory, over the whole pipeline (OPTIONS=--quick: a part of it)
	PYTHONPATH=. PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tests/soak.py $(OPTIONS)

check: install ## lint, format, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST)

audit: install ## known vulnerabilities of all pinned packages; PyPI is asked, and must know each of them
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off --requirement $(REQUIREMENTS)

keys: install ## look for keys in all that git knows
	$(BIN)/pre-commit run keys --all-files

format: install ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
           --no-header --no-annotate --quiet

lock: ## pin anew what pyproject.toml asks for (needs uv)
	$(COMPILE) --output-file requirements/light.txt >/dev/null
	$(COMPILE) --all-extras --constraint requirements/light.txt --output-file requirements/full.txt >/dev/null

clean: ## all that dvc repro made
	rm -rf data/embed data/prepared predictions costs models training release transcripts learning_curve notebooks/html
	rm -rf crossover robustness generation evaluate calibration blend/* nested cascade errors explanations submission report manifest
