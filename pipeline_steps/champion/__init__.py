"""The champion: comparison, promotion log, rollback, publishing its recommendations."""
