"""Fits on the paper's split: their plan, one fit in a process of its own, the table."""
