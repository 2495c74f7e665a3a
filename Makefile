# `make audit` and `make test` are all that a fresh clone needs; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
# Hashes of the wheels only: a source archive would bring build requirements of its own that no hash covers.
INSTALL := $(PIP) install --require-hashes --only-binary :all:
PIN := $(PY) -m piptools compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host
DEBIAN_TOOLS := tshark tcpdump ip:iproute2 ethtool systemd-analyze:systemd mvn:maven chromium pdftotext:poppler-utils \
	libpangoft2-1.0.so.0:libpangoft2-1.0-0 libharfbuzz-subset.so.0:libharfbuzz-subset0 fc-list:fontconfig sshd:openssh-server

MADE := $(VENV)/.made
BUSY := $(VENV)/.busy
RUNTIME := $(VENV)/.runtime
TESTING := $(VENV)/.testing

.PHONY: help audit test lint types wheel unit long fuzz tools pins clean
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

audit: $(RUNTIME) ## install pqaudit into .venv and audit samples/
	$(PY) -m pqaudit audit samples

test: tools lint types wheel unit ## install what the tests need and run all checks and tests

lint: $(TESTING) ## style and errors (ruff)
	$(PY) -m ruff check .

types: $(TESTING) ## types (mypy --strict)
	$(PY) -m mypy --strict

# An installed wheel must carry its rules and work without the checkout.
wheel: $(TESTING) ## build the wheel and try it from another folder
	@PY="$(CURDIR)/$(PY)" sh .ci/try-wheel

# In CI a test that is left out is a failure: .ci/no_skips.py.
unit: $(TESTING) ## the tests (pytest)
	$(if $(CI),PYTHONPATH=.ci) $(PY) -m pytest $(if $(CI),-p no_skips) $(PYTEST_ARGS)

long: $(TESTING) ## the tests that take many minutes: killing pqaudit and the search server at random moments
	PQAUDIT_LONG=1 $(PY) -m pytest -rP tests/elastic/test_kills.py $(PYTEST_ARGS)

# What is found stays in build/fuzz; what breaks something belongs in tests/fuzz/corpus with the fix.
fuzz: SECONDS := 60
fuzz: $(TESTING) ## look for inputs that break a reader or parser (atheris; SECONDS=60 for each)
	for name in ike decoder reader; do \
		mkdir -p build/fuzz/$$name && $(PY) -m tests.fuzz $$name build/fuzz/$$name tests/fuzz/corpus/$$name \
			-artifact_prefix=build/fuzz/ -max_total_time=$(SECONDS) -timeout=10 || exit 1; \
	done

# Debian 12 has no JDK that is new enough for all search servers, so that one is only looked for.
tools: ## install the Debian packages that some tests use, or name them
	@sh .ci/debian-tools $(DEBIAN_TOOLS)
	@$(PYTHON) -m tests.searchserver.jars $(if $(CI),,|| true)

pins: $(TESTING) ## write requirements/*.txt anew from requirements/*.in
	$(PIP) install pip-tools
	for name in build runtime test client9; do $(PIN) $(UPGRADE) -o requirements/$$name.txt requirements/$$name.in || exit 1; done

clean: ## remove .venv, builds and caches
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The environment is made anew when it is missing, was moved, was left half-made, or its Python is gone.
ifneq ($(shell [ "$$(cat $(MADE) 2>/dev/null)" = "$(CURDIR)" ] && [ ! -e $(BUSY) ] && \
	$(PY) -c 'import pip' 2>/dev/null && echo yes),yes)
.PHONY: $(MADE)
endif

$(MADE):
	@PYTHON="$(PYTHON)" sh .ci/check-python
	@rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@printf '%s\n' "$(CURDIR)" >$@

$(RUNTIME): $(MADE) pyproject.toml requirements/runtime.txt requirements/build.txt
	@touch $(BUSY)
	$(INSTALL) -r requirements/runtime.txt -r requirements/build.txt
	$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@rm -f $(BUSY) && touch $@

$(TESTING): $(RUNTIME) requirements/test.txt requirements/client9.txt
	@touch $(BUSY)
	$(INSTALL) -r requirements/test.txt
	$(INSTALL) --upgrade --target $(VENV)/client9 -r requirements/client9.txt
	@rm -f $(BUSY) && touch $@
