"""Checks of the nightly pipeline: its data and its champion."""
