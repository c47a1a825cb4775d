# make repro | predict | test | help
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DVC    := $(BIN)/dvc
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help light install dev repro study kaggle pull predict serve plots docs notebooks site test test-fast soak check audit keys deps format lock clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

# Each holds what the one before it does, and a target asks for the smallest that will do: what is there already is left alone.
light: $(BIN)/python ## an environment for classifiers on counts: no torch, no openai
	@$(BIN)/python -m tools.install requirements/light.txt

install: $(BIN)/python ## the environment for all but tests and tools
	@$(BIN)/python -m tools.install requirements/full.txt

dev: $(BIN)/python ## the environment for all
	@$(BIN)/python -m tools.install requirements/dev.txt

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)

repro: install ## raw tweets to submission/submission.csv, a comparison and report/index.html
	@$(BIN)/python -m pipeline.repro

study: install ## the study: every classifier, and what a single run does not show
	@$(BIN)/python -m pipeline.repro study

kaggle: install ## the competition's files to the best submission (QUICK=1 for a smaller recipe, CHANGES="NAME=VALUE ..." of it)
	@$(BIN)/python -m pipeline.kaggle.best $(if $(QUICK),--quick) $(CHANGES)

pull: light ## results of the stages that ran from the DVC remote, and the store of LLM answers made anew from their transcripts
	$(DVC) pull --allow-missing
	$(BIN)/python -m tools.answers rebuild

INPUT  ?= -
OUTPUT ?= -

predict: light ## score new texts: INPUT=new.csv OUTPUT=scores.csv CLASSIFIER=naive_bayes
	@PATH="$(abspath $(BIN)):$$PATH" python -m pipeline.predict --input "$(INPUT)" --output "$(OUTPUT)" \
		$(if $(CLASSIFIER),--classifier "$(CLASSIFIER)") $(if $(FORMAT),--format "$(FORMAT)")

serve: light ## trained classifiers over HTTP, on this machine: CLASSIFIER=student OPTIONS="--port 8000"
	@$(BIN)/python -m pipeline.serve $(foreach name,$(CLASSIFIER),--classifier "$(name)") $(OPTIONS)

plots: light ## what DVC plots (REVISIONS="main HEAD" compares them), as a page that needs no network: dvc_plots/index.html
	@mkdir -p dvc_plots
	@$(BIN)/python -c 'from pipeline.report.page import library; print(f"<meta charset=utf-8><script>{library()}</script>{{plot_divs}}")' \
		>dvc_plots/page.html
	@$(DVC) plots $(if $(REVISIONS),diff $(REVISIONS),show) --html-template dvc_plots/page.html

docs: light ## keep the last run in docs/results, and write README's comparison, docs/comparison.md and docs/study.md
	$(BIN)/python -m tools.docs

notebooks: install ## the notebooks 1 to 3 on the last run, as pages in notebooks/html
	$(BIN)/python -m pipeline.notebooks.pages

site: repro study ## report, study and notebooks as pages to publish: site/ (of the sample alone)
	@$(BIN)/python -m pipeline.notebooks.pages --executed
	@rm -rf site && mkdir site && cp report/index.html site/report.html && cp study/report/index.html site/study.html
	@cp notebooks/html/*.html site/
	@( echo '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'; \
		echo '<meta name="color-scheme" content="light dark"><title>Disaster tweets</title><h1>Disaster tweets</h1><ul>'; \
		cd site && for page in *.html; do echo "<li><a href=\"$$page\">$${page%.html}</a>"; done ) >site.html && mv site.html site/index.html

PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal

test: dev ## all tests
	$(PYTEST)

test-fast: dev ## those of functions and tables: no network, no LLM, no training
	$(PYTEST) -m "not slow" tests/unit

soak: dev ## kill -9 at any moment of the whole pipeline, twenty times (OPTIONS=--quick: a part of it)
	PYTHONPATH=. PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tests/soak.py $(OPTIONS)

check: dev ## lint, format, types, size, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tools.lines
	$(PYTEST)

servers: dev ## what each LLM server at hand can do, mode by mode, as a table (VLLM=path/to/bin/vllm, if there is one)
	VLLM="$(VLLM)" $(BIN)/python -m benchmarks.servers

audit: dev ## known vulnerabilities of all pinned packages; PyPI is asked, and must know each of them
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off \
		--requirement requirements/dev.txt --requirement requirements/uv.txt

keys: dev ## look for keys in all that git knows
	$(BIN)/pre-commit run keys --all-files

deps: light ## write what each stage depends on of the code into dvc.yaml
	$(BIN)/python -m tools.deps

format: dev ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(BIN)/python ## pin anew what pyproject.toml asks for
	$(BIN)/python -m tools.install --lock

clean: ## all that make repro, study and notebooks made
	rm -rf data/embed data/prepared predictions costs models training release transcripts notebooks/html
	rm -rf dvc_plots site evaluate calibration blend errors explanations submission report study/*/
