"""The model registry: versions, aliases, tracking and the served model. Alone imports mlflow."""
