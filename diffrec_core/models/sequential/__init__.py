"""Models that read a history as a sequence: its windows, the attention over them, the losses."""
