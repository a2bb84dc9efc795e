# Every target sets up what it needs into .venv first; a second run finds the stamp and starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Much of what the tests do is waiting, so there is one more of them than cores.
WORKERS ?= $(shell $(PYTHON) -c "import os; print((os.cpu_count() or 1) + 1)")

.DEFAULT_GOAL := help
.PHONY: help setup try test check bench crash fuzz conformance docs test-clients test-terminal test-packages test-browser dist lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

setup: $(STAMP)  ## create .venv with the locked dependencies

# The lock names everything, so nothing is resolved: pip would look for newer releases of what has extras.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is %d.%d; name another with: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

try: setup  ## run the agent with the offline model in the terminal client (a fixed script without a terminal)
	$(BIN)/acp-agent chat --offline

check: setup  ## formatting, lint, types (as on Linux, macOS and Windows) and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin -p acp_agent -p sessions --cache-dir .mypy_cache/darwin
	$(BIN)/mypy --platform win32 -p acp_agent -p sessions --cache-dir .mypy_cache/win32
	$(BIN)/lint-imports

test: check  ## the checks, then the whole test suite
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

bench: setup  ## figures beside the raw SDK in the same run
	$(BIN)/python -m bench

crash: setup  ## kill the agent at random and at every system call; SEED, KILLS and MINUTES may be given
	$(BIN)/python -m tests.crash $(if $(SEED),--seed $(SEED)) $(if $(KILLS),--kills $(KILLS)) $(if $(MINUTES),--minutes $(MINUTES))

fuzz: setup  ## hostile input for the agent: mutated requests and raw bytes; SEED and LINES may be given
	$(BIN)/python -m tests.fuzz $(if $(SEED),--seed $(SEED)) $(if $(LINES),--lines $(LINES))

conformance: setup  ## try every requirement of the protocol's test kit and write docs/conformance.md
	$(BIN)/python -m tests.conformance

docs: setup  ## write anew what is generated in the documentation
	$(BIN)/python -m tests.docs.picture
	$(BIN)/python -m tests.docs.generated

test-clients: setup  ## run clients of others against the agent; needs npm, and the registries at the first run
	@if command -v npm >/dev/null && command -v node >/dev/null; then $(BIN)/pytest -m clients tests/clients; \
	else echo "SKIPPED: the clients of others were not run, since there is no Node or no npm here."; fi

test-packages: setup  ## install the wheel in empty environments, as people do; needs the package index
	@if $(BIN)/python -m pip index versions google-antigravity >/dev/null 2>&1; then $(BIN)/pytest -n $(WORKERS) -m packages tests/packaging; \
	else echo "SKIPPED: the wheel was not installed anywhere, since the package index cannot be reached."; fi

dist: setup  ## build the wheel and the source distribution into dist/
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/uv build --no-build-isolation --out-dir dist

# The client of the browser is no part of the lock: nothing else needs it, and it is large.
test-browser: setup  ## open the page of a session in a headless Chromium; needs one, and the registry at the first run
	@browser=$$(command -v chromium || command -v chromium-browser || command -v google-chrome); \
	if [ -z "$$browser" ]; then echo "SKIPPED: the page of a session was not opened, since there is no Chromium here."; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check "playwright>=1.65,<2" && \
	CHROMIUM="$$browser" $(BIN)/pytest -m browser tests/browser; fi

test-terminal: setup  ## run the terminal client in a real terminal; needs tmux
	@if command -v tmux >/dev/null; then $(BIN)/pytest -m tmux -n $(WORKERS) tests/terminal; \
	else echo "SKIPPED: the terminal client was not run in a terminal, since there is no tmux here."; fi

lock: setup  ## write requirements.lock anew from the ranges in pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements.lock

clean:  ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
