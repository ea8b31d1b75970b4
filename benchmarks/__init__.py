"""Benchmarks of accuracy and speed; nothing of it is needed to use the product."""
