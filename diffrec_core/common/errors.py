"""Errors that a user can fix, each with the exit code that a command returns for it.

A message says what was found, what is allowed and what to do. Every other exception is a bug and
keeps its traceback.
"""

from typing import ClassVar


class DiffRecError(Exception):
    """Base of all errors that the user can fix."""

    exit_code: ClassVar[int] = 1


class ConfigError(DiffRecError):
    """A value in params.yaml or on the command line is not allowed."""

    exit_code = 2


class DataError(DiffRecError):
    """The data cannot be used: missing, empty, too small or too many rows rejected."""

    exit_code = 3


class ArtifactError(DiffRecError):
    """A stored artifact is missing, of another version, or fails its checksum."""

    exit_code = 4


class StorageError(DiffRecError):
    """Storage cannot be used now: a full disk, no permission, a file that is being changed."""

    exit_code = 5


class NotEnoughMemoryError(DiffRecError):
    """A fit needs more memory than its limit, or than there is; the model is left out."""

    exit_code = 6


class AlarmError(DiffRecError):
    """The pipeline ran, but a check of its data, its table or the served model raised an alarm."""

    exit_code = 7


class NotFittedError(DiffRecError):
    """A model was asked to score or save before it was fitted or loaded."""

    def __init__(self, name: str) -> None:
        super().__init__(f"model {name!r} is not fitted: call fit() or load() first")
