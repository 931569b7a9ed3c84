# Everything runs in .venv, made on first use from Python 3.11-3.14. Nothing is installed elsewhere.

PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null \
	&& { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
HOURS ?= 1
MINUTES ?= 10

.PHONY: help run test check bench soak fuzz docs site clean
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run ## See it work: broker, worker, sample day, live page (ARGS="--speed 300")
	@$(BIN)/gapwatch demo $(ARGS)

test: $(VENV)/.dev ## Run the test suite (ARGS="-k brands")
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev ## Lint, types, generated files, licences and known weaknesses
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m docs.generate --check
	@$(BIN)/python -m deploy.generate --check
	@$(BIN)/python -m deploy.audit

bench: $(VENV)/.bench ## Measure: overhead, throughput, latency, memory, side by side
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(VENV)/.dev ## Break it on purpose for HOURS (a real cluster of three; needs Java and Maven)
	@$(BIN)/python -m tests.faults --hours $(HOURS) --log soak.jsonl $(ARGS); \
		status=$$?; $(BIN)/python -m tests.faults.report soak.jsonl; exit $$status

fuzz: $(VENV)/.fuzz ## Feed hostile input for MINUTES to everything that reads what others write
	@$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(ARGS)

docs: $(VENV)/.dev ## Regenerate what is generated in docs/, deploy/ and k8s/
	@$(BIN)/python -m docs.generate
	@$(BIN)/python -m deploy.generate

site: $(VENV)/.dev ## Build the documentation's site into build/site/html, for reading offline
	@$(BIN)/python -m docs.site

clean: ## Remove the environment, caches and downloads
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Gapwatch needs Python 3.11 to 3.14. On Debian or Ubuntu: apt-get install python3 python3-venv" >&2; exit 1; fi
	@echo "gapwatch: making $(VENV) with $(PYTHON)" >&2
	@$(PYTHON) -m venv $(VENV) 2>$(VENV).log || { rm -rf $(VENV); cat $(VENV).log; rm -f $(VENV).log; \
		echo "$(PYTHON) cannot make a virtual environment. On Debian or Ubuntu: apt-get install $$(basename $(PYTHON))-venv" >&2; exit 1; }
	@rm -f $(VENV).log

# One install a stage, with its time: what is happening and how long it took.
define install
	@echo "gapwatch: installing $(1) (pip; a minute or two the first time)" >&2
	@start=$$(date +%s); $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable "$(1)" \
		&& touch $@ && echo "gapwatch: installed in $$(( $$(date +%s) - start )) s" >&2
endef

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(call install,.[embedded])

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(call install,.[dev])

$(VENV)/.fuzz: pyproject.toml | $(VENV)/bin/python
	$(call install,.[dev$(comma)fuzz])

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(call install,.[dev$(comma)torch])

comma := ,
