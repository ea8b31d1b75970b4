"""Evaluation: full ranking with seen-item masking, metrics that name their protocol."""
