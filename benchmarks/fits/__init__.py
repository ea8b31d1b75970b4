"""Fits on the paper's split: which there are, one fit in a process of its own, the table."""
