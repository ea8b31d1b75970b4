"""Runs of the pipeline: specification, workspaces, store and workers, on any machine."""
