"""Models that score by a matrix over items: how it is made, kept sparse and multiplied with."""
