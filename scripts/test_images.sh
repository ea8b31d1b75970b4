#!/usr/bin/env bash
# test_images.sh pipeline|airflow: run the image that `make images` has built. The pipeline goes from
# the sample's raw logs to a champion that loads; Airflow starts, is healthy and imports every DAG.
set -euo pipefail
engine=$(bash "$(dirname "$0")/container_engine.sh")

# in_image IMAGE COMMAND ...: run it in a new container, which is removed afterwards.
in_image() {
  # shellcheck disable=SC2086 # several options in one variable
  if [ "$engine" = buildah ]; then
    container=$(buildah from --pull-never "$1")
    trap 'buildah rm "$container" >/dev/null' EXIT
    buildah run ${RUN_OPTIONS:-} "$container" -- "${@:2}"
  else
    "$engine" run --rm ${RUN_OPTIONS:-} "$@"
  fi
}

case $1 in
  pipeline)
    in_image diffrec-pipeline bash -euc '
      python -m pipeline_steps fetch-sample
      dvc repro
      export MLFLOW_TRACKING_URI=sqlite:///mlflow.db
      python -c "import mlflow; print(mlflow.pyfunc.load_model(\"models:/diffrec@champion\"))"'
    ;;
  airflow)
    in_image diffrec-airflow bash -euc '
      airflow standalone >/tmp/standalone.log 2>&1 &
      healthy() {
        python -c "
import json, urllib.request as web
health = json.load(web.urlopen(\"http://127.0.0.1:8080/api/v2/monitor/health\", timeout=5))
assert all(health[part][\"status\"] == \"healthy\" for part in (\"metadatabase\", \"scheduler\")), health
"; }
      for try in {1..60}; do
        if healthy 2>/dev/null; then break; fi
        sleep 5
      done
      healthy || { tail -n 50 /tmp/standalone.log; exit 1; }
      airflow dags list-import-errors --output plain
      airflow dags list --output plain | grep -w nightly_retrain'
    ;;
esac
