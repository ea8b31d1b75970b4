#!/usr/bin/env bash
# Airflow on this machine, as the Makefile's `airflow` sets it up: run_airflow.sh PORT GPU_SLOTS.
# Migrates the database, makes the pool, prints the login, and ends everything on Ctrl-C or SIGTERM.
set -euo pipefail
port=$1 gpu_slots=$2
passwords=$AIRFLOW_HOME/simple_auth_manager_passwords.json.generated
mkdir -p "$AIRFLOW_HOME"
airflow db migrate >"$AIRFLOW_HOME/migrate.log" 2>&1 || { cat "$AIRFLOW_HOME/migrate.log" >&2; exit 1; }
airflow pools set gpu "$gpu_slots" "stages that train" >/dev/null 2>>"$AIRFLOW_HOME/migrate.log"

# In a session of its own: Ctrl-C reaches this script, which tells Airflow once. Told twice, by the
# terminal too, its parts would leave without waiting for their tasks.
setsid airflow standalone &
airflow_pid=$!
stop() {
  trap '' INT TERM
  echo "Airflow: stopping" >&2
  kill -INT "$airflow_pid" 2>/dev/null || true
  for _ in $(seq 150); do
    kill -0 -- "-$airflow_pid" 2>/dev/null || break
    sleep 0.2
  done
  kill -KILL -- "-$airflow_pid" 2>/dev/null || true
  wait "$airflow_pid" 2>/dev/null || true
}
trap 'stop; exit 0' INT TERM
(
  for _ in $(seq 600); do
    if [ -s "$passwords" ] && (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "Airflow: http://127.0.0.1:$port  login: $(cat "$passwords")  (Ctrl-C stops it)" >&2
      exit
    fi
    sleep 0.5
  done
) &
wait "$airflow_pid" || true
