"""Tuning and robustness: studies beside the nightly graph."""
