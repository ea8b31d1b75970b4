"""Who holds, or held, the lock of some work: written into the lock, for whoever comes later.

A process number alone says little: after a reboot, or when numbers begin anew, it is another's.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_STARTED = 19
"""Place of the start time in /proc/PID/stat, counted behind the name, which may hold blanks."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process and what it works at.

    Attributes:
        pid: its number, and that of its session; 0: it has not said.
        of: digest of what the work is made of.
        boot: the machine's boot, as the kernel names it; None where it does not.
        started: when the process began, in the kernel's ticks; None likewise.
    """

    pid: int
    of: str = ""
    boot: str | None = None
    started: str | None = None

    @classmethod
    def this_process(cls, of: str) -> Self:
        """This one."""
        return cls(os.getpid(), of, boot_id(), start_of(os.getpid()))

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """From the lock's content; without a number where it is not of this form.

        >>> Holder.parse(b"")
        Holder(pid=0, of='', boot=None, started=None)
        """
        with suppress(ValueError, TypeError):
            return cls(**json.loads(content))
        return cls(0)

    def to_bytes(self) -> bytes:
        """What goes into the lock."""
        return json.dumps(asdict(self)).encode()

    def owns_session(self) -> bool:
        """Whether the session of its number, if there is one, can only be its own.

        The kernel gives no number to a process while a session still has it.
        """
        if not self.pid or self.boot != boot_id():
            return False
        return not _exists(self.pid) or (
            self.started is not None and self.started == start_of(self.pid)
        )


def boot_id() -> str | None:
    """The kernel's name for the time since the machine was started."""
    with suppress(OSError):
        return _BOOT.read_text().strip()
    return None


def start_of(pid: int) -> str | None:
    """When a process began; None where it has ended, or the system does not say."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[_STARTED]
    return None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
