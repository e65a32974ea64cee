# `make help` lists what there is. The first target that needs it sets everything up in .venv.
PYTHON ?= python3
VENV ?= .venv
SWEEP ?= quickstart
RESULTS ?= results
ARGS ?=
NAME ?=
FORMAT ?=
NUMERICAL = $(addprefix tests/,measure/test_device_memory.py measure/test_ledger.py measure/test_peak_memory.py memory/test_forecast.py \
	memory/test_planner.py methods/test_contract.py methods/test_low_rank.py methods/test_own_methods.py \
	methods/test_peft_methods.py methods/test_soft_prompts.py metrics/test_metrics.py metrics/test_metrics_e2e.py \
	metrics/test_slots.py models/test_precisions.py models/test_roles.py models/test_split_layers.py \
	reports/test_memory_table.py run/test_kinds.py)
# torch's kernels : oneDNN's : threads. What this processor lacks is left out.
ISA ?= default:SSE41:1 avx2:AVX2:2 avx512:AVX512_CORE:1 avx512:AVX512_CORE_BF16:2
RUN = $(VENV)/bin/python
READY = $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup sweep report paper page regress test test-isa lint type bench gpu-check clean

help: ## List the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(READY) ## Create .venv and install the pinned requirements and this package.

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || { echo "error: needs Python 3.11 to 3.14, for which the pinned packages have wheels, and $(PYTHON) is $$($(PYTHON) -V 2>&1); name one with make PYTHON=python3.12"; exit 2; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

sweep: $(READY) ## Run a sweep and print its table: SWEEP=quickstart, ARGS="train.steps=100", RESULTS=results, NAME=longer.
	@code=0; $(RUN) -m harness +sweep=$(SWEEP) results=$(RESULTS) $(if $(NAME),hydra.sweeper.name=$(NAME)) $(ARGS) || code=$$?; \
	case "$$code $(ARGS)" in *--dry-run*|2*|130*) exit $$code;; esac; \
	$(RUN) -m reports $(or $(NAME),$(SWEEP)) --results $(RESULTS) $(if $(FORMAT),--format $(FORMAT)) && exit $$code

report: $(READY) ## Print a sweep's table again: SWEEP=quickstart, FORMAT=markdown, csv or latex.
	@$(RUN) -m reports $(SWEEP) --results $(RESULTS) $(if $(FORMAT),--format $(FORMAT))

paper: $(READY) ## A published table with ours beside it, the committed results where RESULTS has none: NAME=lora_rank_ablation.
	@$(RUN) -m reports paper $(NAME) --results $(if $(wildcard $(RESULTS)/sweeps/papers),$(RESULTS),docs/results) $(ARGS)

page: $(READY) ## Write one HTML file to explore all runs of RESULTS; ARGS="--output FILE".
	@$(RUN) -m reports page --results $(RESULTS) $(ARGS)

regress: $(READY) ## Measure the gate's sweep anew and compare it with the committed baseline.
	@$(RUN) -m reports regress $(ARGS)

test: $(READY) ## Run the tests, a file at a time on each core; ARGS="-k name" chooses.
	$(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

test-isa: $(READY) ## Repeat the numerical tests with the instructions of other x86 processors, one thread and two (hours).
	@failed=; for each in $(ISA); do \
	case $$each in avx512*) grep -qw avx512f /proc/cpuinfo || { echo "== $$each: left out, this processor has no AVX-512"; continue; };; esac; \
	set -- $$(echo $$each | tr : ' '); echo "== $$each"; \
	ATEN_CPU_CAPABILITY=$$1 ONEDNN_MAX_CPU_ISA=$$2 TEST_THREADS=$$3 OMP_NUM_THREADS=$$3 OMP_WAIT_POLICY=PASSIVE \
	$(RUN) -m pytest -q -n auto --dist loadfile --timeout 3600 $(NUMERICAL) $(ARGS) || failed="$$failed $$each"; done; \
	[ -z "$$failed" ] || { echo "error: failed with$$failed"; exit 1; }

lint: $(READY) ## Check style, formatting, and who imports whom.
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/lint-imports

type: $(READY) ## Check types.
	$(RUN) -m mypy

bench: $(READY) ## Compare speed with transformers.Trainer, side by side; run it alone.
	$(RUN) -m benchmarks.against_trainer $(ARGS)

gpu-check: $(READY) ## Run the tests that need a GPU, then compare plans with what a GPU of yours allocates.
	$(RUN) -m pytest -m gpu
	$(RUN) -m benchmarks.gpu_check $(ARGS)

clean: ## Remove .venv and caches of tools. Never results.
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
