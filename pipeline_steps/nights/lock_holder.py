"""The process that holds, or last held, the lock of a job, as written into the lock.

A pid alone does not identify it: pids are reused, and after a reboot they start again.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_STARTED = 19
"""Index of the start time in /proc/PID/stat, after the name, which may hold blanks."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A worker process and the specification of its job.

    Attributes:
        pid: of the process, which leads a session; 0: unknown.
        digest: of the job's specification.
        boot: the kernel's id of this boot; None where the system has none.
        started: start of the process in the kernel's ticks; None likewise.
    """

    pid: int
    digest: str = ""
    boot: str | None = None
    started: str | None = None

    @classmethod
    def this_process(cls, digest: str) -> Self:
        """The current process."""
        return cls(os.getpid(), digest, boot_id(), start_of(os.getpid()))

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read a lock's content; anything that `to_bytes` did not write gives pid 0.

        >>> Holder.parse(b"")
        Holder(pid=0, digest='', boot=None, started=None)
        """
        with suppress(ValueError, TypeError):
            return cls(**json.loads(content))
        return cls(0)

    def to_bytes(self) -> bytes:
        """JSON, the lock's content."""
        return json.dumps(asdict(self)).encode()

    def exists(self) -> bool:
        """True if the process runs or is a zombie, and its pid was not reused."""
        return (
            self.boot == boot_id()
            and self.started is not None
            and self.started == start_of(self.pid)
        )

    def owns_session(self) -> bool:
        """True if a session with this pid can only be the one that the process led.

        The kernel gives no pid to a new process while a session still has it.
        """
        if not self.pid or self.boot != boot_id():
            return False
        return not psutil.pid_exists(self.pid) or self.exists()


def boot_id() -> str | None:
    """The kernel's id of this boot; None where the system has none."""
    with suppress(OSError):
        return _BOOT.read_text().strip()
    return None


def start_of(pid: int) -> str | None:
    """Start of a process in the kernel's ticks; None if it has ended or there is no /proc."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[_STARTED]
    return None
