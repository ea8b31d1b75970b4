# `make` lists what there is. Needs git, bash, GNU make and Python 3.11 or newer; paths are relative,
# so any folder will do, and several clones do not know of each other.

SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
# Only the checks of `make test` may run in parallel.
ifeq ($(filter check-%,$(MAKECMDGOALS)),)
.NOTPARALLEL:
endif

## Python that builds the environments (default: the newest on PATH)
export PYTHON ?=
## index that torch is installed from, a CPU or CUDA build (default: as pip is configured)
export TORCH_INDEX ?=
## preset for `run`, one of presets/ (default: params.yaml as it is)
PRESET ?=
## models of `tune`, `robustness`, `demo-nights` and `bench-*`: "ease diffrec"
MODELS ?=
## of `tune`, per model: trials, or a time such as 90s, 10m, 2h (default: as params.yaml says)
BUDGET ?=
## how many nights, the last of the log, `demo-nights` and `backtest` (default: 26) replay
NIGHTS ?= 3
## how much of the sample arrives in each of them: day or week
EVERY ?= week
## what `serve` serves
MODEL ?= models:/diffrec@champion
## port of `mlflow`, on 127.0.0.1
MLFLOW_PORT ?= 5000
## port of `serve`
SERVE_PORT ?= 5001
## port of `airflow` and `demo-nights`
AIRFLOW_PORT ?= 8080
## tasks that Airflow runs concurrently (default: one per core)
AIRFLOW_PARALLELISM ?= $(shell nproc 2>/dev/null || echo 2)
## how many of these may train (default: all)
GPU_SLOTS ?= $(AIRFLOW_PARALLELISM)
## processes of `test` (default: cores + 1, since some tests wait for services; at most 4)
TEST_WORKERS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores < 4 ? cores + 1 : 4)))
## more options of pytest for `test`: "-k fetch_sample"
PYTEST_ARGS ?=
## container engine of `images` (default: docker, podman or buildah, the first that works)
export ENGINE ?=
## image that `images` starts from, a Debian 12 with Python (default: as the Dockerfile says)
export BASE ?=
## more options of the engine's build for `images`: "--volume /etc/pip.conf:/etc/pip.conf:ro"
export IMAGE_OPTIONS ?=

# `dvc`, and the `python` of the commands in dvc.yaml, are those of the environment.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MLFLOW_TRACKING_URI ?= sqlite:///mlflow.db
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1

.PHONY: help run test test-fresh images tune robustness sample bench bench-paper bench-authors bench-tune bench-gate backtest mlflow serve airflow demo-nights lint format lock clean FORCE

help: ## show this
	@printf 'usage: make TARGET [VARIABLE=value ...]\n\ntargets:\n'
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' Makefile | expand -t 24
	@printf '\nvariables:\n'
	@sed -nE '/^## /{N;s/^## (.*)\n(export )?([A-Z_]+) \?= ?(.*)/  \3=\4\t\1/;s/=\$$\(.*\t/=\t/;p}' Makefile | expand -t 34

comma := ,
empty :=
space := $(empty) $(empty)
# A sample that params.yaml reads is fetched. `preset` holds what the sections were before the preset.
FETCH_IF_USED = for sample in ml-100k ml-1m groceries; do \
	if ! [ -d "data/raw/$$sample" ] && sed '/^preset:/,/^[a-z]/d' params.yaml | \
		grep -qE "^[^\#]*data/raw/$$sample([^[:alnum:]_-]|\$$)"; then \
		python -m pipeline_steps fetch-sample "$$sample" || exit; fi; done

run: .venv/.pipeline-stamp ## from raw logs to a registered champion and a report 
	@git rev-parse --is-inside-work-tree >/dev/null 2>&1 || { \
		echo "This folder is not a git clone, and DVC keeps its hashes beside git's history:" >&2; \
		echo "clone the project with git, or run 'git init' here." >&2; exit 1; }
	$(if $(PRESET),@python -m pipeline_steps use-preset "$(PRESET)")
	@$(FETCH_IF_USED)
	@python -m pipeline_steps check-params
	@before=$$(cat dvc.lock 2>/dev/null || true); dvc repro || exit; \
	if [ "$$before" = "$$(cat dvc.lock)" ]; then state=--up-to-date; else state=; fi; \
	python -m scripts.show_result $$state

tune: .venv/.pipeline-stamp ## tune the settings of MODELS; then make run PRESET=tuned
	$(if $(BUDGET),@python -m pipeline_steps set tune.budget=$(BUDGET))
	@$(FETCH_IF_USED)
	@dvc repro split cluster_items
	@dvc repro $(if $(MODELS),$(addprefix studies/dvc.yaml:tune@,$(MODELS)),studies/dvc.yaml:tune)

robustness: .venv/.pipeline-stamp ## how robust MODELS are to noise in the training data
	$(if $(MODELS),@python -m pipeline_steps set 'robustness.models=[$(subst $(space),$(comma),$(strip $(MODELS)))]')
	@$(FETCH_IF_USED)
	@dvc repro split
	@dvc repro studies/dvc.yaml:robustness
	@echo "reports/robustness/: rows.csv, drop.svg"

backtest: .venv/.pipeline-stamp ## replay the log night by night: who of MODELS would have served (NIGHTS, EVERY)
	@$(FETCH_IF_USED)
	@dvc repro ingest
	@python -m pipeline_steps backtest $(if $(filter-out file,$(origin NIGHTS)),--nights $(NIGHTS)) \
		--period $(EVERY) $(if $(MODELS),--models $(MODELS))

sample: .venv/.pipeline-stamp ## fetch the sample data (MovieLens-100K, for research use)
	@python -m pipeline_steps fetch-sample

CHECKS := check-mypy check-ruff check-format check-imports check-doctests check-tests

# mypy runs in parallel with the other checks. The output of a check appears when it ends, that of
# the tests as it comes: descriptor 9 bypasses --output-sync.
test: .venv/.dev-stamp .venv-airflow/.stamp ## everything that must hold
	@export CHECK_RESULTS=$$(mktemp); trap 'rm -f "$$CHECK_RESULTS"' EXIT; \
	$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target LIVE=9 $(CHECKS) 9>&1; \
	failed=$$?; printf '\n=== summary\n'; cat "$$CHECK_RESULTS"; exit "$$failed"

lint: .venv/.dev-stamp check-ruff check-format check-mypy check-imports ## ruff, mypy and the import contracts

# The parts of `make test`, in the environment that it has built.
.PHONY: $(CHECKS)
CHECK = @bash scripts/run_check.sh $@
LIVE = 1
check-ruff:
	$(CHECK) ruff check .
check-format:
	$(CHECK) ruff format --check .
check-mypy:
	$(CHECK) bash -c 'mypy && mypy dags/*.py'
check-imports:
	$(CHECK) lint-imports --no-logo
check-doctests:
	$(CHECK) python -m pytest -q --doctest-modules diffrec_core pipeline_steps scripts benchmarks dags/_alerts.py
# the tests start hundreds of processes: without bytecode files each would compile our modules
check-tests:
	$(CHECK) env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 python -m pytest tests \
		-n $(TEST_WORKERS) --dist loadscope $(PYTEST_ARGS) >&$(LIVE) 2>&1

test-fresh: ## both commands on fresh Debians, and the images (root, an hour or more; docs/how-to/)
	@bash scripts/test_fresh.sh

images: ## build the images diffrec-pipeline and diffrec-airflow
	@bash scripts/build_images.sh

format: .venv/.dev-stamp ## format the code
	@ruff check --fix . && ruff format .

# DIFFREC_BENCH_DATA is a folder with the paper's MovieLens-1M split, REFERENCE a checkout of the
# DiffRec authors' code; `python -m benchmarks speed --help` and the like say more.
BENCH = python -m benchmarks
BENCH_DATA = --data "$(DIFFREC_BENCH_DATA)"
bench: .venv/.pipeline-stamp ## speed and memory against the machine's limits (CASES, REFERENCE=checkout, THREADS, REPEATS)
	@$(BENCH) speed $(BENCH_DATA) --cases $(CASES) --reference "$(REFERENCE)" \
		$(if $(THREADS),--threads $(THREADS)) $(if $(REPEATS),--repeats $(REPEATS))

bench-paper: .venv/.pipeline-stamp ## models on the paper's MovieLens-1M split (MODELS, SEEDS, PROTOCOLS, SETTINGS, PRECISION)
	@$(BENCH) paper $(BENCH_DATA) --models $(MODELS) --seeds $(SEEDS) \
		--protocols $(PROTOCOLS) --settings $(SETTINGS) --precision $(PRECISION)

bench-authors: .venv/.pipeline-stamp ## the DiffRec authors' own code with several seeds (REFERENCE=checkout, MODELS, SEEDS)
	@$(BENCH) authors $(BENCH_DATA) --reference "$(REFERENCE)" --models $(MODELS) --seeds $(SEEDS)

bench-tune: .venv/.pipeline-stamp ## tune settings on that split (MODELS="a b", BUDGET=20 or 10m, SEEDS, PRECISION)
	@$(BENCH) tune $(BENCH_DATA) --models $(MODELS) $(if $(BUDGET),--budget $(BUDGET)) \
		--seeds $(SEEDS) --precision $(PRECISION)

bench-gate: .venv/.pipeline-stamp ## error rates and delays of what decides at night, in simulated years (REPS, USERS="50 500")
	@$(BENCH) gate $(if $(REPS),--reps $(REPS)) $(if $(USERS),--users $(USERS))

mlflow: .venv/.pipeline-stamp ## MLflow's pages and registry: runs, curves, versions, aliases
	@echo "MLflow: http://127.0.0.1:$(MLFLOW_PORT) (Ctrl-C stops it)"
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false exec mlflow server --host 127.0.0.1 \
		--port "$(MLFLOW_PORT)" --allowed-hosts "127.0.0.1:$(MLFLOW_PORT),localhost:$(MLFLOW_PORT)" \
		--workers 1 --backend-store-uri "$$MLFLOW_TRACKING_URI" \
		--serve-artifacts --artifacts-destination mlartifacts

serve: .venv/.pipeline-stamp ## the champion behind an HTTP endpoint
	@echo "$(MODEL): http://127.0.0.1:$(SERVE_PORT)/invocations (Ctrl-C stops it)"
	@mlflow models serve -m "$(MODEL)" --env-manager local --host 127.0.0.1 --port "$(SERVE_PORT)"

# Tasks report to the API server, so they must know its port. The log servers listen on every
# address (Airflow offers no other choice) but require a signed token; their ports follow
# AIRFLOW_PORT, so that two clones need differ in that alone.
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

demo-nights: .venv/.pipeline-stamp .venv-airflow/.stamp ## replay the sample night by night through Airflow
	@[ -d data/raw/ml-100k ] || python -m pipeline_steps fetch-sample
	@$(AIRFLOW) PYTHONPATH="$$PWD" .venv/bin/python -m scripts.replay_nights --port "$(AIRFLOW_PORT)" \
		--gpu-slots "$(GPU_SLOTS)" \
		--nights "$(NIGHTS)" --every "$(EVERY)" --models $(or $(MODELS),popularity t_ease diffrec)

lock: ## resolve requirements/*.in again (UPGRADE=1: to the newest versions)
	@UPGRADE="$(UPGRADE)" bash requirements/lock.sh

clean: ## remove environments and tool caches; data, models and the registry stay
	@rm -rf .venv .venv-airflow .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environments: build_env.sh compares them with the locks and builds what is missing.
BUILD := bash requirements/build_env.sh

.venv/.pipeline-stamp: FORCE
	@$(BUILD) .venv pipeline "$@" new "once, 2 to 5 minutes"

.venv/.dev-stamp: .venv/.pipeline-stamp FORCE
	@$(BUILD) .venv dev "$@" add "once, a minute"

.venv-airflow/.stamp: FORCE
	@$(BUILD) .venv-airflow airflow "$@" new "once, 1 to 3 minutes"
