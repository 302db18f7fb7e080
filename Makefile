# Everything here sets itself up in .venv, from nothing but Python 3.11 or newer with venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One virtual environment per Python: `make test PYTHON=python3.12` starts afresh.
TAG := $(shell $(PYTHON) -c 'import sys; print("py%d.%d.%d" % sys.version_info[:3])')
# The folders too: their time tells that a file was taken away.
SOURCES := $(shell find src -name __pycache__ -prune -o -print) pyproject.toml README.md LICENSE
LOWEST = $(shell sed -n '/^dependencies/,/^]/s/.*"\(.*\)>=\(.*\)",/\1==\2/p' pyproject.toml)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# What needs neither a server nor a browser, and no more than a moment.
IN_PROCESS := tests/core tests/session tests/model tests/stores/test_sqlite.py tests/stores/test_testing.py tests/project/test_packaging.py

.PHONY: help demo web web-fastapi web-django check test proof lint format bench bench-stores docs screenshots lowest clean
# The steps below install into one environment: not side by side, even with -j.
.NOTPARALLEL:

help:
	@echo "make demo    the whole of twofa on an SQLite file, with a QR code for your phone"
	@echo "make web     the Administration page, on this machine, with a demo user"
	@echo "make web-fastapi  the same page and a JSON API, on FastAPI"
	@echo "make web-django   the same page in a Django site, beside Django's admin"
	@echo "make check   lint, types and the in-process tests: for daily work"
	@echo "make test    the tests, against the installed wheel, with coverage"
	@echo "make proof   races, crashes, interleavings and fail-overs at full strength, with the figures of the docs"
	@echo "make lint    ruff, mypy --strict, pyright strict"
	@echo "make format  ruff format"
	@echo "make bench   the first table in docs/performance.md"
	@echo "make bench-stores  the other tables there: half an hour, 30 GB of disk"
	@echo "make docs    run every example in README.md and docs/"
	@echo "make screenshots  the pictures in docs/images, taken anew"
	@echo "make lowest  every test, on the lowest versions that pyproject.toml allows"
	@echo "make clean   remove .venv and what was built"

demo: $(VENV)/wheel-$(TAG)
	@$(BIN)/python examples/quickstart.py

web: $(VENV)/wheel-$(TAG) $(VENV)/web-$(TAG)
	@cd examples && ../$(BIN)/python -m flask_app

web-fastapi: $(VENV)/wheel-$(TAG) $(VENV)/web-fastapi-$(TAG)
	@cd examples && ../$(BIN)/python -m fastapi_app

web-django: $(VENV)/wheel-$(TAG) $(VENV)/web-django-$(TAG)
	@cd examples && ../$(BIN)/python -m django_site

check: lint $(VENV)/wheel-$(TAG) $(VENV)/test-$(TAG)
	$(BIN)/python -m pytest -q -n 2 -m "not heavy" $(wildcard $(IN_PROCESS))

test: $(VENV)/wheel-$(TAG) $(VENV)/test-$(TAG) $(VENV)/browser-$(TAG)
	$(BIN)/python -m pytest -n 3 --dist loadgroup --cov --cov-report=term --cov-fail-under=100

proof: $(VENV)/wheel-$(TAG) $(VENV)/test-$(TAG) $(VENV)/browser-$(TAG)
	TWOFA_PROOF=1 $(BIN)/python -m pytest -n 2 --dist loadgroup -m "heavy or proof" --timeout 1800

lint: $(VENV)/lint-$(TAG)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/lint-$(TAG)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/wheel-$(TAG) $(VENV)/test-$(TAG)
	$(BIN)/python benchmarks/run.py

# All of them, whether or not one of them misses a bar.
bench-stores: $(VENV)/wheel-$(TAG) $(VENV)/test-$(TAG)
	@missed=0; for part in logins outbox contention growth pruning moving redis_store failover redis_scale; do \
		echo; $(BIN)/python benchmarks/$$part.py || missed=1; \
	done; exit $$missed

docs: $(VENV)/wheel-$(TAG) $(VENV)/test-$(TAG)
	$(BIN)/python -m pytest tests/project/test_docs.py

screenshots: $(VENV)/wheel-$(TAG) $(VENV)/test-$(TAG) $(VENV)/browser-$(TAG)
	PYTHONPATH=examples:tests/helpers $(BIN)/python tests/helpers/screenshots.py docs/images

# The plugin of an old anyio, which an old typing-extensions brings along, trips over a new pytest.
lowest: $(VENV)/wheel-$(TAG)
	$(PYTHON) -m venv --clear build/lowest
	build/lowest/bin/python -m pip --disable-pip-version-check --quiet install --upgrade 'pip>=25.1'
	build/lowest/bin/python -m pip --quiet install --group test build/wheel/*.whl $(LOWEST)
	build/lowest/bin/python -m pytest -n 2 --dist loadgroup -p no:anyio

$(VENV)/base-$(TAG):
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

# The tests run against what a user installs: the wheel, with src/ out of the way.
$(VENV)/wheel-$(TAG): $(VENV)/base-$(TAG) $(SOURCES)
	rm -rf build/wheel
	$(PIP) wheel --no-deps --wheel-dir build/wheel .
	$(PIP) install build/wheel/*.whl
	$(PIP) install --force-reinstall --no-deps build/wheel/*.whl
	@touch $@

$(VENV)/web-$(TAG): $(VENV)/base-$(TAG) pyproject.toml
	$(PIP) install --group web
	@touch $@

$(VENV)/web-fastapi-$(TAG): $(VENV)/base-$(TAG) pyproject.toml
	$(PIP) install --group web-fastapi
	@touch $@

$(VENV)/web-django-$(TAG): $(VENV)/base-$(TAG) pyproject.toml
	$(PIP) install --group web-django
	@touch $@

$(VENV)/test-$(TAG): $(VENV)/base-$(TAG) pyproject.toml
	$(PIP) install --group test
	@touch $@

# The system's Chromium, or one from Debian's packages where we may install them, or else Playwright's own. Without any,
# the tests that need one are left out, and the run says how many.
CHROMIUM := chromium-headless-shell chromium chromium-browser google-chrome
$(VENV)/browser-$(TAG): $(VENV)/test-$(TAG)
	@mkdir -p build
	@for name in $(CHROMIUM); do command -v $$name && exit; done >build/chromium.log; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing Chromium for the tests in a browser (build/chromium.log)"; \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } \
			>>build/chromium.log 2>&1 && exit; \
	fi; \
	$(BIN)/python -m playwright install --only-shell chromium >>build/chromium.log 2>&1 || \
		echo "no Chromium, and none could be had (build/chromium.log): the tests in a browser are left out"
	@touch $@

$(VENV)/lint-$(TAG): $(VENV)/base-$(TAG) pyproject.toml
	$(PIP) install --group lint cryptography qrcode typing-extensions
	@touch $@

clean:
	rm -rf $(VENV) build .coverage
