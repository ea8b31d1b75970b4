"""The steps: each reads its section of params.yaml and its inputs, calls the library, writes."""

import os

# Threads of torch that wait for each other spin for a fraction of a millisecond, then sleep.
# Spinning on, they make small matrix products several times slower when anything else runs on the
# machine; asleep at once, an epoch takes a quarter longer when nothing does. It has to be set
# before torch is loaded, hence here; it does not change results.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # of GNU's OpenMP; others sleep at once

# MLflow sends nothing and draws no bars; it reads these when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
