"""Data: from raw log rows to ordered histories. Knows Polars and NumPy, never torch."""
