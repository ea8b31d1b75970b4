"""What decides who serves: the gate, and the contest of recipes that is to follow it.

The gate compares a candidate with the champion once. Pure: versions are loaded and scored
elsewhere, by external ids; here is who is asked what (`cases`), what the answers are worth
(`measures`), and what follows from it (`decision`).

The contest adds up evidence from night to night: what is kept of a night (`night`, `ledger`), what
nights are evidence of (`evidence`, `rounds`, `advantage`), what follows (`replay`, `verdict`), and
how often that errs (`rates`).

Beside both, what a table of recommendations changes in the one before (`table_changes`).
"""
