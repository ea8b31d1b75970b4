# Two images from one file, both built by `make images`:
#   docker build --target pipeline --tag diffrec-pipeline .    runs `dvc repro`
#   docker build --target airflow --tag diffrec-airflow .      runs Airflow with the nightly DAG
# A CPU-only or CUDA build of torch: --build-arg TORCH_INDEX=URL of the index that has it.
# Another base, a Debian 12 with Python and its venv module: --build-arg BASE=IMAGE.

ARG BASE=python:3.11.15-slim-bookworm
FROM ${BASE} AS base
ENV PIP_NO_CACHE_DIR=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    DVC_NO_ANALYTICS=1 \
    DO_NOT_TRACK=1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# git: DVC asks it which files are tracked. The uid is fixed, so that volumes can be owned by it.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends "git=1:2.39.*" \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 diffrec \
    && useradd --uid 10001 --gid diffrec --create-home diffrec \
    && install --directory --owner diffrec --group diffrec /project
WORKDIR /project

# Environments are built at their final path: a virtual environment cannot be moved.
FROM base AS pipeline-env
ARG TORCH_INDEX=
COPY requirements/*.sh requirements/pipeline.lock requirements/
RUN bash requirements/build_env.sh .venv pipeline .venv/.pipeline-stamp new "for the image"

FROM base AS airflow-env
COPY requirements/*.sh requirements/airflow.lock requirements/
RUN bash requirements/build_env.sh .venv-airflow airflow .venv-airflow/.stamp new "for the image"

FROM base AS pipeline
ARG REVISION=unknown
LABEL org.opencontainers.image.title="diffrec-pipeline" \
      org.opencontainers.image.description="Raw logs to a registered recommender and its recommendations" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH="/project/.venv/bin:${PATH}"
COPY --from=pipeline-env /project/.venv .venv
COPY --chown=10001:10001 . .
USER 10001:10001
# The image has no git history, so DVC must not look for it.
RUN dvc config --local core.no_scm true
CMD ["dvc", "repro"]

# Airflow in addition to the pipeline's environment: tasks run the stages as processes in this image.
FROM pipeline AS airflow
LABEL org.opencontainers.image.title="diffrec-airflow" \
      org.opencontainers.image.description="Airflow with the nightly DAG of the recommender pipeline"
ENV PATH="/project/.venv-airflow/bin:${PATH}" \
    AIRFLOW_HOME=/project/.airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/project/dags \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__CORE__PARALLELISM=4 \
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False
COPY --from=airflow-env /project/.venv-airflow .venv-airflow
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import json, sys, urllib.request as web; health = json.load(web.urlopen('http://127.0.0.1:8080/api/v2/monitor/health', timeout=5)); sys.exit(any(health[part]['status'] != 'healthy' for part in ('metadatabase', 'scheduler')))"]
CMD ["airflow", "standalone"]
