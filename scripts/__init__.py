"""What the Makefile runs besides the pipeline: Airflow, the replay of nights, the summary."""
