"""Errors, configuration, artifacts and random numbers: what everything else rests on."""
