#!/usr/bin/env bash
# Nights with the sample, as the Makefile's `demo-nights` sets them up: demo_nights.sh
# NIGHTS day|week MODELS.
# Each night a part of the log arrives, and the DAG nightly_retrain runs for it (`airflow dags test`:
# the real tasks, without a scheduler).
set -euo pipefail
nights=$1 every=$2 models=$3
python=.venv/bin/python
mkdir -p "$AIRFLOW_HOME"
airflow db migrate >"$AIRFLOW_HOME/migrate.log" 2>&1 || { cat "$AIRFLOW_HOME/migrate.log" >&2; exit 1; }
airflow pools set gpu 1 "stages that train" >/dev/null 2>>"$AIRFLOW_HOME/migrate.log"
conf() {
  "$python" - "$1" "$models" "$every" <<'PYTHON'
import json
import sys

end, models, every = sys.argv[1:]
settings = [
    "list_raw.logs=[data/raw/nights/*.inter]",
    f"monitor.period={every}",
    "monitor.rows_ratio_low_alarm=0.3",  # the sample has few users, and its weeks differ
]
print(json.dumps({"end": end, "models": models.split(), "settings": settings}))
PYTHON
}
for end in $("$python" -m pipeline_steps.demo_nights --nights "$nights" --every "$every"); do
  started=$SECONDS log=$AIRFLOW_HOME/night-$end.log
  echo "=== the night before $end (log: $log)"
  "$python" -m pipeline_steps.demo_nights --nights "$nights" --every "$every" --until "$end"
  if ! airflow dags test nightly_retrain --conf "$(conf "$end")" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    exit 1
  fi
  "$python" - <<'PYTHON'
import json

gate = json.load(open("published/gate.json"))
print(f"    gate: {gate['decision']}: {gate['reason']}")
PYTHON
  echo "    $((SECONDS - started)) s"
done
"$python" -m pipeline_steps.history
