#!/usr/bin/env bash
# Builds both targets of the Dockerfile, as the images diffrec-pipeline and diffrec-airflow.
#   ENGINE=podman  BASE=IMAGE  TORCH_INDEX=URL  IMAGE_OPTIONS="--pull-never --volume ..."
set -euo pipefail
cd "$(dirname "$0")/.."
engine=$(bash scripts/container_engine.sh)
options=(--build-arg "REVISION=$(git rev-parse HEAD)")
for name in BASE TORCH_INDEX; do
  if [ -n "${!name:-}" ]; then options+=(--build-arg "$name=${!name}"); fi
done
# the Open Container Initiative's own format has no HEALTHCHECK
if [ "$engine" != docker ]; then options+=(--format docker --layers); fi

for target in pipeline airflow; do
  # shellcheck disable=SC2086 # several options in one variable
  "$engine" build --target "$target" --tag "diffrec-$target" "${options[@]}" ${IMAGE_OPTIONS:-} .
done
