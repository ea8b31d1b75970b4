"""Nightly checks of data and champion, and the status pages."""
