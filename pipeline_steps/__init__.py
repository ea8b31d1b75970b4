"""The steps: each reads its section of params.yaml and its inputs, calls the library, writes."""

import os

# Threads of torch that wait for each other sleep instead of spinning: with anything else running
# on the machine, spinning makes small matrix products several times slower. It has to be set
# before torch is loaded, hence here; it does not change results.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# MLflow sends nothing and draws no bars; it reads these when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
