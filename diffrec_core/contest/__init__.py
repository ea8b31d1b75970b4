"""Whether a candidate may replace the champion: a fair comparison, and what must not get worse.

Pure: versions are loaded and scored elsewhere, by external ids; here is who is asked what
(`cases`), what the answers are worth (`measures`), and what follows from it (`decision`).
"""
