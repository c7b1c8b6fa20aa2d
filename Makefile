# Theory You Can Run. `make book` builds the book, `make test` checks it; each sets itself up.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help book test install install-browser pairs lint lock clean

# The Python that makes .venv: the first that is new enough, or the one given as PYTHON=...
CANDIDATES := python3.11 python3.12 python3.13 python3.14 python3 python
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
ifndef PYTHON
PYTHON := $(shell for p in $(CANDIDATES); do $$p $(NEW_ENOUGH) 2>/dev/null && echo $$p && break; done)
endif
NO_PYTHON := No Python 3.11 or newer was found. Install one (Debian: apt install python3 \
python3-venv) or name yours: make PYTHON=/path/to/python
check-python = [ -n "$(PYTHON)" ] || { echo "$(NO_PYTHON)" >&2; exit 1; }
BIN := .venv/bin
# Chapters run side by side; more threads in each would make all of them slower.
export OMP_NUM_THREADS := 1
JOBS ?= 2

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do \
		printf 'make %-9s %s\n' "$$name" "$$what"; done

book: install ## run what changed and build _build/html/index.html
	@$(BIN)/python _ext/pairs.py
	@$(BIN)/python _ext/execute.py -j $(JOBS)
	@rm -rf _build/html
	@echo "building the site"
	@$(BIN)/jupyter-book build . --all -q -W -n --keep-going >/dev/null
	@$(BIN)/python _ext/pages.py

test: install-browser ## build the book and run every test
	@$(BIN)/python _ext/pairs.py --check
	@$(MAKE) --no-print-directory book
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

install: ## make or update .venv, which the other commands do by themselves
	@$(check-python)
	@$(PYTHON) _ext/install.py

install-browser:
	@$(check-python)
	@$(PYTHON) _ext/install.py --browser

pairs: install ## bring the notebooks up to date with their scripts
	@$(BIN)/python _ext/pairs.py

lint: install ## check the style of the code
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

lock: ## take the newest allowed packages into requirements.lock
	@$(check-python)
	@$(PYTHON) _ext/install.py --lock

clean: ## remove everything that was built, and the recorded outputs of the chapters
	@rm -rf _build
