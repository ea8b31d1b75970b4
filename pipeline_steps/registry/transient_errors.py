"""MLflow errors that are transient: its server or database is away, busy or locked.

`score_version` uses this too, so it imports nothing of ours.
"""

import requests
from sqlalchemy.exc import OperationalError

_TRANSIENT_CODES = frozenset(
    {
        "INTERNAL_ERROR",  # also raised where no server is reached
        "TEMPORARILY_UNAVAILABLE",
        "DEADLINE_EXCEEDED",
        "REQUEST_LIMIT_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "ABORTED",
        "CANCELLED",
    }
)
_TRANSIENT_STATUSES = frozenset({408, 429})
_SERVER_ERRORS = 500


def is_transient(error: Exception) -> bool:
    """True if a retry may succeed; False if a name or a value is wrong.

    Args:
        error: of MLflow, or one of the database or of HTTP that it lets through.

    >>> is_transient(requests.ConnectionError("refused")), is_transient(ValueError("a wrong name"))
    (True, False)
    """
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        return status >= _SERVER_ERRORS or status in _TRANSIENT_STATUSES
    if isinstance(error, OperationalError | requests.ConnectionError | requests.Timeout):
        return True
    return getattr(error, "error_code", None) in _TRANSIENT_CODES
