"""The gate: a fair comparison of a candidate with the champion, and its guards.

Pure: versions are loaded and scored elsewhere, by external ids; here is who is asked what
(`cases`), what the answers are worth (`measures`), and what follows from it (`decision`). Beside
it, what a table of recommendations changes in the one before (`table_changes`).
"""
