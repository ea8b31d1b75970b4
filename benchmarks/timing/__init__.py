"""Comparisons of time and memory: sides that take turns, each in a process of its own."""
