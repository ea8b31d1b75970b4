"""Benchmarks: what the product is measured against. None of it is needed to use the product."""
