# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
# Each makes .venv with the newest Python that runs and installs the project into it, once.

export PYTHON ?=
WORKERS ?= 2
DEMO_ARGS ?=
PYTEST_ARGS ?=

VENV := .venv
VPY := $(VENV)/bin/python
STAMP := $(VENV)/.distill-installed
EXTRAS := demo,test

SUPPORTED := (3, 11) <= sys.version_info[:2] <= (3, 13)
# Being on PATH proves nothing: a pyenv shim of a version that is switched off only prints
# "command not found", and Debian's python3 cannot make an environment without python3-venv.
PROBE := import ensurepip, sys, venv; sys.exit(not $(SUPPORTED))

# An environment whose interpreter is gone must not pass for installed because its stamp is there.
VENV_RUNS := $(shell $(VPY) -c 'print(1)' 2>/dev/null </dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo test lint format install clean FORCE

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile | \
	  while IFS='|' read -r name text; do printf '%-14s %s\n' "$$name" "$$text"; done
	@echo
	@echo 'PYTHON=/path/to/python3   the interpreter of a new .venv (3.11, 3.12 or 3.13)'
	@echo 'WORKERS=4                 test processes, each of which loads torch'
	@echo "PYTEST_ARGS='-k losses'   more arguments for pytest;  DEMO_ARGS=... for the demo"

demo: $(STAMP) ## teacher -> pseudo-labels -> student on embedded data; ends with a table
	$(VPY) -m distill.stages.main_job $(DEMO_ARGS)

# One thread per worker: OpenMP would otherwise start one per core in every worker.
test: lint ## ruff, mypy and all tests
	OMP_NUM_THREADS=1 $(VPY) -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

lint: $(STAMP) ## ruff and mypy only
	$(VPY) -m ruff check .
	$(VPY) -m ruff format --check .
	$(VPY) -m mypy

format: $(STAMP) ## let ruff mend style and imports
	$(VPY) -m ruff check --fix .
	$(VPY) -m ruff format .

install: $(STAMP) ## only make .venv and install into it

# The stamp goes first and comes back last, so a failed or killed install leaves none.
$(STAMP): pyproject.toml $(if $(VENV_RUNS),,FORCE)
	@rm -f $@
	@if $(VPY) -c '' >/dev/null 2>&1 </dev/null; then \
	  $(VPY) -c 'import sys; sys.exit(not $(SUPPORTED))' || { \
	    echo "error: $(VENV) is $$($(VPY) -V 2>&1); this project needs Python 3.11, 3.12 or 3.13." \
	      "Remove $(VENV) and try again." >&2; exit 1; }; \
	else \
	  chosen=; \
	  if [ -n "$$PYTHON" ]; then \
	    if "$$PYTHON" -c '$(PROBE)' >/dev/null 2>&1 </dev/null; then chosen=$$PYTHON; else \
	      echo "error: PYTHON=$$PYTHON does not run, is not Python 3.11, 3.12 or 3.13, or has no" \
	        "venv and ensurepip (Debian: install python3-venv)." >&2; exit 1; fi; \
	  else \
	    set -f; IFS=:; \
	    for name in python3.13 python3.12 python3.11 python3 python; do \
	      for dir in $$PATH; do \
	        candidate="$${dir:-.}/$$name"; \
	        if [ -x "$$candidate" ] && \
	           "$$candidate" -c '$(PROBE)' >/dev/null 2>&1 </dev/null; then \
	          chosen=$$candidate; break 2; \
	        fi; \
	      done; \
	    done; \
	    unset IFS; set +f; \
	  fi; \
	  if [ -z "$$chosen" ]; then \
	    echo "error: no Python 3.11, 3.12 or 3.13 with venv and ensurepip runs from PATH. Install" \
	      "one (Debian: python3-venv as well), or name it: make PYTHON=/path/to/python3.12" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$("$$chosen" -V 2>&1) ($$chosen)"; \
	  "$$chosen" -m venv --clear $(VENV); \
	fi
	@$(VPY) -m pip --version >/dev/null 2>&1 </dev/null || $(VPY) -m ensurepip --upgrade
	@echo "Installing distill-vqa[$(EXTRAS)] into $(VENV); with the CUDA wheels that takes about 7 GB"
	$(VPY) -m pip install --editable ".[$(EXTRAS)]"
	@touch $@

clean: ## remove caches and build products; keeps .venv and outputs
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

FORCE:
