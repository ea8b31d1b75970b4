"""Simulated years of nights, and policies that decide on them."""
