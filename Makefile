# Everything here sets itself up first: a fresh machine needs only Python 3.11 to 3.13 and make.
# The environment is .venv; it is made once and again only when pyproject.toml or constraints.txt change.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCHMARKS := $(filter-out benchmarks/pairing.py benchmarks/torchvision_peer.py,$(wildcard benchmarks/*.py))
CANDIDATES := $(PYTHON) python3 python3.13 python3.12 python3.11 python

.DEFAULT_GOAL := help
.PHONY: help setup demo test offline lint bench slow fuzz pin

help:
	@echo "make demo    make a data set, train on it, judge the result and write a report (about 6 minutes)"
	@echo "make test    the tests"
	@echo "make offline the tests, where no network is but loopback"
	@echo "make lint    style, types and the direction of imports"
	@echo "make bench   speed, side by side with the peer"
	@echo "make slow    the tests that take over a minute each"
	@echo "make fuzz    20,000 damaged sets of images through all readers (about 6 minutes)"

setup: $(READY)

# A half-made environment (an interrupted set-up, a removed interpreter) is made anew; a sound one is kept and completed.
$(READY): pyproject.toml constraints.txt
	@if ! $(BIN)/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 \
	    || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  chosen=; \
	  for candidate in $(CANDIDATES); do \
	    if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	        >/dev/null 2>&1; then chosen=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$chosen" ]; then \
	    echo "sightline: error: no Python 3.11 to 3.13 with the venv module among: $(strip $(CANDIDATES));" \
	      "install one (on Debian also python3-venv) or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$chosen"; \
	  "$$chosen" -m venv --clear $(VENV); \
	fi
	@echo "Installing the pinned environment (the first time takes minutes)"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt hatchling editables
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/sightline demo $(ARGS)

test: $(READY)
	@$(BIN)/python -m pytest $(ARGS)

# Where no namespace can be made (no root, no user namespaces, no Linux) this says so and ends well.
offline: $(READY)
	@if unshare --net true 2>/dev/null; then alone="unshare --net"; \
	elif unshare --map-root-user --net true 2>/dev/null; then alone="unshare --map-root-user --net"; \
	else echo "make offline: skipped: no network namespace can be made here (it takes Linux, and root or user namespaces)"; \
	  exit 0; fi; \
	$$alone $(BIN)/python tests/no_network/alone.py $(BIN)/python -m pytest $(ARGS)

slow: $(READY)
	@$(BIN)/python -m pytest -n0 -m slow $(ARGS)

fuzz: $(READY)
	@$(BIN)/python tests/fuzz/fuzz_readers.py --cases 20000 $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY)
	@missed=0; for script in $(BENCHMARKS); do echo "$$script"; $(BIN)/python $$script $(ARGS) || missed=1; done; exit $$missed

# Pins what is installed now: change the ranges in pyproject.toml, install, then run this.
pin: $(READY)
	@sed -n '/^#/p' constraints.txt > .setup-pins
	@$(BIN)/python -m pip freeze --exclude sightline >> .setup-pins
	@mv .setup-pins constraints.txt
