# Each target sets up everything it needs in .venv; nothing else has to be installed first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt

# Processes that the tests are shared between.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: demo docs test test-slow test-integrations campaign check format clean installed

demo: $(VENV)/.installed-core
	@$(BIN)/seqgan train captions

test: $(VENV)/.installed-test
	$(PYTEST) -m "not slow and not integration"

test-slow: $(VENV)/.installed-test
	$(PYTEST) -m "slow and not integration"

test-integrations: $(VENV)/.installed-integrations
	$(PYTEST) -m integration

# What every target needs but `make test-integrations`.
installed: $(VENV)/.installed-core $(VENV)/.installed-check $(VENV)/.installed-docs \
	$(VENV)/.installed-test

# A tenth of it; `make campaign KILLS=100 DAMAGES=100 INPUTS=200` is the whole.
KILLS ?= 10
DAMAGES ?= 10
INPUTS ?= 20
campaign: $(VENV)/.installed-test
	$(BIN)/python -m tests.campaign --kills $(KILLS) --damages $(DAMAGES) --inputs $(INPUTS)

# The site: site/docs/site/index.html. A link that leads nowhere is an error.
docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -q -W --keep-going -c docs/site -d $(VENV)/doctrees . site
	@echo "site/docs/site/index.html"

check: $(VENV)/.installed-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-check
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache site docs/site/made

$(VENV)/bin/python:
	@$(PYTHON) -c "import sys; sys.exit('seqgan needs Python 3.11 or newer, got ' + sys.version) if sys.version_info < (3, 11) else None"
	@$(PYTHON) -m venv $(VENV)

# Most of it is PyTorch, which brings 5 GB of CUDA libraries on Linux; the README says how to leave
# them out.
INSTALLING = installing into $(VENV), once; it takes some minutes (2 to 10 by the network) ...

$(VENV)/.installed-core: $(VENV)/bin/python $(SOURCES)
	@echo "$(INSTALLING)"
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-%: $(VENV)/bin/python $(SOURCES)
	@echo "$(INSTALLING)"
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$*]"
	@touch $@
