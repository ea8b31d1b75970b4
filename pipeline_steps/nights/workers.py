"""Work that outlives the command which started it.

The work is a process in a session of its own; it holds a lock on its folder and writes its log
there. The command shows the log until the work ends. Killed, it leaves the work alone: a scheduler
that loses a task does not lose hours of training. The next command finds the lock taken and shows
the same log from its beginning; work of another specification it ends instead.
"""

import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NoReturn

from diffrec_core.common.artifacts import write_json
from diffrec_core.common.errors import DiffRecError
from pipeline_steps.nights.lock_holder import Holder

log = logging.getLogger("pipeline")
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 20.0
_LOCK_TRIES = 10


class LostWorkError(DiffRecError):
    """The work was killed or failed to start."""


class Work:
    """One piece of work, by its folder.

    Args:
        folder: where its lock, log and result lie.
        of: digest of what it is made of; work of another digest is not joined but ended.
    """

    def __init__(self, folder: Path, of: str = "") -> None:
        self._of = of
        self._lock, self._log = folder / "lock", folder / "stage.log"
        self._result = folder / "result.json"
        self.folder = folder

    def show(self, command: list[str], *, cwd: Path) -> int:
        """Start the work unless it goes on already, show its log, return its exit code.

        SIGTERM and SIGINT end the work too.

        Raises:
            LostWorkError: the work ended without a result: it was killed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        process = None
        self._end_other_work()
        if self.pid() is None:
            self._end_orphans()
            self._result.unlink(missing_ok=True)
            self._log.write_bytes(b"")
            process = self._start(command, cwd)
        else:
            log.warning("joining work that goes on already: process %s", self.pid())
        with self._ended_with_us(process):
            self._follow(process)
        if not self._result.is_file():
            how = f"exit status {process.returncode}" if process else "no trace"
            raise LostWorkError(
                f"the work was killed ({how}): run the same command again, it goes on from the "
                f"last checkpoint. Its log: {self._log}"
            )
        return int(json.loads(self._result.read_text())["exit_code"])

    def do(self, action: Callable[[], int]) -> None:
        """In the worker: hold the lock, act, leave the exit code; nothing if another is at it."""
        with self._lock.open("a+b") as file:
            if not _lock(file):
                return
            file.truncate(0)
            file.write(Holder.this_process(self._of).to_bytes())
            file.flush()
            code = 1
            try:
                code = action()
            except DiffRecError as error:
                log.error("%s", error)
                code = error.exit_code
            finally:
                write_json(self._result, {"exit_code": code})

    def pid(self) -> int | None:
        """The process that holds the lock, None where nobody does."""
        holder = self._holder()
        return None if holder is None else holder.pid

    def _holder(self) -> Holder | None:
        try:
            with self._lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            return Holder.parse(self._lock.read_bytes())
        return None

    def _end_other_work(self) -> None:
        """End work that goes on for what the run was before it was specified anew."""
        for _ in range(_LOCK_TRIES):
            holder = self._holder()
            if holder is None or holder.of == self._of:
                return
            if holder.pid:  # else it is about to write it down
                log.warning("the run was specified anew: ending its old work, %s", holder.pid)
                _end_session(holder.pid)
            time.sleep(_POLL_SECONDS)

    def _end_orphans(self) -> None:
        """End what a killed worker has left running: it would write into the next try's folder."""
        worker = Holder.parse(self._lock.read_bytes()) if self._lock.is_file() else Holder(0)
        if worker.owns_session():
            _end_session(worker.pid)

    def _start(self, command: list[str], cwd: Path) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _follow(self, process: "subprocess.Popen[bytes] | None") -> None:
        with self._log.open("rb") as lines:
            while self._goes_on(process):
                _copy(lines)
                time.sleep(_POLL_SECONDS)
            _copy(lines)

    def _goes_on(self, process: "subprocess.Popen[bytes] | None") -> bool:
        if process is not None and process.poll() is None:
            return True
        return self.pid() is not None  # ours may have found another at work, and joined it

    @contextmanager
    def _ended_with_us(self, process: "subprocess.Popen[bytes] | None") -> Iterator[None]:
        def end(number: int, frame: FrameType | None) -> NoReturn:
            pid = self.pid() or (process.pid if process else None)
            log.error("%s: ending the work too; a re-run continues", signal.Signals(number).name)
            if pid:
                _end_session(pid)
            sys.exit(128 + number)

        before = {s: signal.signal(s, end) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def end_all(workspaces: Path) -> list[str]:
    """End all work that goes on in some workspaces; its names, as RUN/STAGE.

    Args:
        workspaces: a folder per run, and in it a folder per stage.
    """
    at_work = {lock.parent: Work(lock.parent).pid() for lock in workspaces.glob("*/*/lock")}
    found = {folder: pid for folder, pid in at_work.items() if pid}
    for pid in found.values():
        _end_session(pid)
    return [f"{folder.parent.name}/{folder.name}" for folder in found]


def remove_old(workspaces: Path, *, days: float) -> None:
    """Remove the folders of work that nobody came back to, and that nobody is at.

    Args:
        workspaces: a folder per run, and in it a folder per stage.
        days: how long nothing has happened in them.
    """
    before = time.time() - days * 86400
    for lock in workspaces.glob("*/*/lock"):
        if lock.stat().st_mtime < before and Work(lock.parent).pid() is None:
            log.info("removing the workspace %s, untouched for %g days", lock.parent, days)
            shutil.rmtree(lock.parent, ignore_errors=True)
    for run in workspaces.glob("*"):
        with suppress(OSError):
            run.rmdir()  # if it is empty


def _lock(file: BinaryIO) -> bool:
    """Take the lock, unless another worker has it.

    `pid` holds it for a moment when it asks, so a lock that is taken is asked for again.
    """
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_POLL_SECONDS / 5)
        else:
            return True
    return False


def _copy(lines: BinaryIO) -> None:
    sys.stdout.buffer.write(lines.read())
    sys.stdout.buffer.flush()


def _end_session(pid: int) -> None:
    """SIGTERM to every process of a session, SIGKILL to those that do not listen."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < deadline:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            os.killpg(pid, 0)  # raises when all are gone
            time.sleep(_POLL_SECONDS)
        os.killpg(pid, signal.SIGKILL)
