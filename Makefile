# `make` lists what there is. Needs git, bash, GNU make and Python 3.11 or newer; paths are relative,
# so any folder will do, and several clones do not know of each other.

SHELL := bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules

# Which Python builds the environments (empty: the newest on PATH, 3.11 at least), and where the
# build of torch, CPU or CUDA, comes from (empty: from wherever pip is set up to look).
export PYTHON ?=
export TORCH_INDEX ?=

# Where the services of `make mlflow`, `make serve` and `make airflow` listen, on 127.0.0.1.
MLFLOW_PORT ?= 5000
SERVE_PORT ?= 5001
AIRFLOW_PORT ?= 8080
# How many tasks run at a time, and of these, how many that train.
AIRFLOW_PARALLELISM ?= $(shell nproc 2>/dev/null || echo 2)
GPU_SLOTS ?= $(AIRFLOW_PARALLELISM)
# How many nights `make demo-nights` plays, and how much of the log arrives in each: day or week.
NIGHTS ?= 3
EVERY ?= week
# Settings for `make run` to use, of those in presets/ (empty: params.yaml as it is).
PRESET ?=
MODEL ?= models:/diffrec@champion
# How many processes `make test` tests with: one more than cores, since some wait for services.
TEST_WORKERS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores < 4 ? cores + 1 : 4)))
# What `make tune` tunes (empty: every model), and for how long each: trials, or 90s, 10m, 2h.
MODELS ?=
BUDGET ?= 20

# `dvc`, and the `python` of the commands in dvc.yaml, are those of the environment.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MLFLOW_TRACKING_URI ?= sqlite:///mlflow.db
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1

.PHONY: help run test tune robustness sample bench bench-paper bench-authors bench-tune mlflow ui serve airflow demo-nights lint format lock clean FORCE

help: ## list the targets
	@echo "make run    the main job; then: make mlflow, make serve, make airflow"
	@echo
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r name what; do \
		printf '  %-16s %s\n' "$$name" "$$what"; done

FETCH_IF_USED = if grep -qE '^[^\#]*data/raw/ml-100k' params.yaml && ! [ -d data/raw/ml-100k ]; then \
	python -m pipeline_steps fetch-sample; fi

run: .venv/.pipeline-stamp ## from raw logs to a registered champion and a report (PRESET=name)
	@git rev-parse --is-inside-work-tree >/dev/null 2>&1 || { \
		echo "This folder is not a git clone, and DVC keeps its hashes beside git's history:" >&2; \
		echo "clone the project with git, or run 'git init' here." >&2; exit 1; }
	$(if $(PRESET),@python -m pipeline_steps use-preset "$(PRESET)")
	@$(FETCH_IF_USED)
	@before=$$(cat dvc.lock 2>/dev/null || true); dvc repro || exit; \
	if [ "$$before" = "$$(cat dvc.lock)" ]; then state=--up-to-date; else state=; fi; \
	python -m pipeline_steps.show_result $$state

tune: .venv/.pipeline-stamp ## look for better settings (MODELS="a b", BUDGET=20 or 10m); then make run
	@python -m pipeline_steps use-tuning --models $(MODELS) --budget "$(BUDGET)"
	@$(FETCH_IF_USED)
	@dvc repro $(if $(MODELS),$(addprefix tune@,$(MODELS)),tune)

robustness: .venv/.pipeline-stamp ## how models (MODELS="a b") stand noise in the training data
	@python -m pipeline_steps use-robustness --models $(MODELS)
	@$(FETCH_IF_USED)
	@dvc repro robustness
	@echo "reports/robustness/: rows.csv, drop.svg"

sample: .venv/.pipeline-stamp ## fetch the sample data (MovieLens-100K, for research use)
	@python -m pipeline_steps fetch-sample

# mypy takes half a minute of one core, and the tests leave some of it: its words come after theirs.
test: .venv/.dev-stamp .venv-airflow/.stamp ## everything that must hold
	@failed=0; summary=; log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	$(MAKE) --no-print-directory check-mypy >"$$log" 2>&1 & mypy=$$!; \
	for check in ruff format imports doctests tests mypy; do \
		printf '\n=== %s\n' "$$check"; start=$$SECONDS; result=ok; \
		if [ "$$check" = mypy ]; then wait "$$mypy" && cat "$$log" || { cat "$$log"; false; }; \
		else $(MAKE) --no-print-directory "check-$$check"; fi || { result=FAILED; failed=1; }; \
		summary+=$$(printf '  %-10s %-7s %4d s' "$$check" "$$result" $$((SECONDS - start)))$$'\n'; \
	done; printf '\n=== summary\n%s' "$$summary"; exit "$$failed"

lint: .venv/.dev-stamp check-ruff check-format check-mypy check-imports ## ruff, mypy and the import contracts

# The parts of `make test`, in the environment that it has built.
.PHONY: check-ruff check-format check-mypy check-imports check-doctests check-tests
check-ruff:
	@ruff check .
check-format:
	@ruff format --check .
check-mypy:
	@mypy && mypy dags/*.py
check-imports:
	@lint-imports --no-logo
check-doctests:
	@python -m pytest -q --doctest-modules diffrec_core pipeline_steps benchmarks dags/_stage_graph.py
# hundreds of processes are started, which are not to compile our modules each for itself
check-tests:
	@env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 python -m pytest tests -n $(TEST_WORKERS) --dist loadscope $(PYTEST_ARGS)

format: .venv/.dev-stamp ## put the code into its form
	@ruff check --fix . && ruff format .

# DIFFREC_BENCH_DATA is a folder with the paper's MovieLens-1M split, REFERENCE a checkout of the
# DiffRec authors' code; `python -m benchmarks speed --help` and the like say more.
BENCH = python -m benchmarks
BENCH_DATA = --data "$(DIFFREC_BENCH_DATA)"
bench: .venv/.pipeline-stamp ## speed and memory beside the machine's limits (CASES, REFERENCE=checkout, THREADS, REPEATS)
	@$(BENCH) speed $(BENCH_DATA) --cases $(CASES) --reference "$(REFERENCE)" \
		$(if $(THREADS),--threads $(THREADS)) $(if $(REPEATS),--repeats $(REPEATS))

bench-paper: .venv/.pipeline-stamp ## models on the paper's MovieLens-1M split (MODELS, SEEDS, PROTOCOLS, SETTINGS, PRECISION)
	@$(BENCH) paper $(BENCH_DATA) --models $(MODELS) --seeds $(SEEDS) \
		--protocols $(PROTOCOLS) --settings $(SETTINGS) --precision $(PRECISION)

bench-authors: .venv/.pipeline-stamp ## the DiffRec authors' own code with several seeds (REFERENCE=checkout, MODELS, SEEDS)
	@$(BENCH) authors $(BENCH_DATA) --reference "$(REFERENCE)" --models $(MODELS) --seeds $(SEEDS)

bench-tune: .venv/.pipeline-stamp ## better settings on that split (MODELS="a b", BUDGET=20 or 10m, SEEDS, PRECISION)
	@$(BENCH) tune $(BENCH_DATA) --models $(MODELS) --budget "$(BUDGET)" --seeds $(SEEDS) \
		--precision $(PRECISION)

mlflow: .venv/.pipeline-stamp ## MLflow's pages and registry: runs, curves, versions, aliases
	@echo "MLflow: http://127.0.0.1:$(MLFLOW_PORT) (Ctrl-C stops it)"
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false exec mlflow server --host 127.0.0.1 \
		--port "$(MLFLOW_PORT)" --allowed-hosts "127.0.0.1:$(MLFLOW_PORT),localhost:$(MLFLOW_PORT)" \
		--workers 1 --backend-store-uri "$$MLFLOW_TRACKING_URI" \
		--serve-artifacts --artifacts-destination mlartifacts

ui: mlflow # its old name

serve: .venv/.pipeline-stamp ## the champion behind an HTTP endpoint
	@echo "$(MODEL): http://127.0.0.1:$(SERVE_PORT)/invocations (Ctrl-C stops it)"
	@mlflow models serve -m "$(MODEL)" --env-manager local --host 127.0.0.1 --port "$(SERVE_PORT)"

# The tasks report to the API server, so they must know its port; the log servers, which Airflow
# lets listen on every address, ask for a signed token, and their ports move with it, so that
# clones side by side differ in AIRFLOW_PORT alone.
AIRFLOW = PATH="$$PWD/.venv-airflow/bin:$$PATH" \
	AIRFLOW_HOME="$$PWD/.airflow" \
	AIRFLOW__CORE__DAGS_FOLDER="$$PWD/dags" \
	AIRFLOW__CORE__LOAD_EXAMPLES=False \
	AIRFLOW__CORE__PARALLELISM="$(AIRFLOW_PARALLELISM)" \
	AIRFLOW__CORE__EXECUTION_API_SERVER_URL="http://127.0.0.1:$(AIRFLOW_PORT)/execution/" \
	AIRFLOW__API__HOST=127.0.0.1 \
	AIRFLOW__API__PORT="$(AIRFLOW_PORT)" \
	AIRFLOW__API__BASE_URL="http://127.0.0.1:$(AIRFLOW_PORT)" \
	AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=$$(($(AIRFLOW_PORT) + 713)) \
	AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT=$$(($(AIRFLOW_PORT) + 714)) \
	AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False

airflow: .venv/.pipeline-stamp .venv-airflow/.stamp ## Airflow with the DAGs, on this machine
	@$(AIRFLOW) exec .venv-airflow/bin/python scripts/run_airflow.py "$(AIRFLOW_PORT)" "$(GPU_SLOTS)"

demo-nights: .venv/.pipeline-stamp .venv-airflow/.stamp ## nights with the sample, a week of it each (NIGHTS=3 EVERY=week)
	@[ -d data/raw/ml-100k ] || python -m pipeline_steps fetch-sample
	@$(AIRFLOW) PYTHONPATH="$$PWD" .venv/bin/python -m scripts.play_nights --port "$(AIRFLOW_PORT)" \
		--gpu-slots "$(GPU_SLOTS)" \
		--nights "$(NIGHTS)" --every "$(EVERY)" --models $(or $(MODELS),popularity ease diffrec)

lock: ## resolve requirements/*.in anew (UPGRADE=1: to the newest versions)
	@UPGRADE="$(UPGRADE)" bash requirements/lock.sh

clean: ## remove environments and tool caches; data, models and the registry stay
	@rm -rf .venv .venv-airflow .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environments: build_env.sh compares what is there with the locks and builds what is not.
BUILD := bash requirements/build_env.sh

.venv/.pipeline-stamp: FORCE
	@$(BUILD) .venv pipeline "$@" new "once, 2 to 5 minutes"

.venv/.dev-stamp: .venv/.pipeline-stamp FORCE
	@$(BUILD) .venv dev "$@" add "once, a minute"

.venv-airflow/.stamp: FORCE
	@$(BUILD) .venv-airflow airflow "$@" new "once, 1 to 3 minutes"
