"""An entry of the log of promotions."""

import getpass
import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self

from diffrec_core.common.errors import ArtifactError

Action = Literal["promote", "rollback", "found"]
"""`found`: the alias was moved by a person, or by `register`, and the log followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An entry of the log.

    Attributes:
        sequence: its number, from 1.
        version: the champion from here on; None if there is none.
        previous: the champion before.
        action: what happened.
        reason: in plain words.
        time: ISO 8601, UTC.
        by: user@host.
        numbers: what the gate measured; empty where nobody has compared.
    """

    sequence: int
    version: str | None
    previous: str | None
    action: Action
    reason: str
    time: str
    by: str
    numbers: Mapping[str, Any]

    @property
    def based_on(self) -> int:
        """The number that was the newest when this one was decided."""
        return self.sequence - 1

    def to_bytes(self) -> bytes:
        """JSON, in UTF-8."""
        return json.dumps(asdict(self), indent=2, sort_keys=True).encode()

    @classmethod
    def parse(cls, content: bytes, name: str) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ArtifactError: it is something else; `name` is that of its file.
        """
        try:
            return cls(**json.loads(content))
        except (TypeError, ValueError) as error:
            raise ArtifactError(
                f"{name} in the store is not a record of a promotion ({error}): it was edited or "
                f"is of another version of this program"
            ) from error

    @classmethod
    def now(
        cls,
        *,
        sequence: int,
        version: str | None,
        previous: str | None,
        action: Action,
        reason: str,
        numbers: Mapping[str, Any],
    ) -> Self:
        """A record of this moment and this user."""
        return cls(
            sequence=sequence,
            version=version,
            previous=previous,
            action=action,
            reason=reason,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            by=f"{_user()}@{socket.gethostname()}",
            numbers=dict(numbers),
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return "unknown"
