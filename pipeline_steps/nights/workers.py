"""Background jobs: processes that outlive the command which started them.

A job runs in a session of its own; it holds a lock on its folder and writes its log there. The
command shows the log until the job ends. A command that is killed leaves the job running: a
scheduler that loses a task does not lose hours of training. The next command finds the lock taken
and shows the same log from its beginning; a job of another specification it ends instead.
"""

import fcntl
import glob
import json
import logging
import math
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
    """The job was killed or failed to start."""


class BackgroundJob:
    """A job, identified by its folder.

    Args:
        folder: with its lock, log and result.
        digest: of its specification; a running job of another digest is ended, not attached to.
    """

    def __init__(self, folder: Path, digest: str = "") -> None:
        self._digest = digest
        self._lock, self._log = folder / "lock", folder / "stage.log"
        self._result = folder / "result.json"
        self.folder = folder

    def show(self, command: list[str], *, cwd: Path) -> int:
        """Start the job unless it is running, show its log, return its exit code.

        SIGTERM and SIGINT end the job too.

        Raises:
            LostWorkError: the job was killed, or one of another specification cannot be ended.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        process = None
        self._end_other_job()
        if self.pid() is None:
            self._end_orphans()
            self._result.unlink(missing_ok=True)
            self._log.write_bytes(b"")
            process = self._start(command, cwd)
        else:
            log.warning("already running; attaching to process %s", self.pid())
        with self._ended_with_us(process):
            self._follow(process)
        if not self._result.is_file():
            end = "ended with no exit status (killed, or the machine restarted)"
            if process:
                end = f"was killed (exit status {process.returncode})"
            raise LostWorkError(
                f"the job {end}: run the same command again, it resumes from the last "
                f"checkpoint. Its log: {self._log}"
            )
        return int(json.loads(self._result.read_text())["exit_code"])

    def do(self, action: Callable[[], int]) -> None:
        """In the worker: hold the lock, act, write the exit code.

        Does nothing if another worker holds the lock.
        """
        with self._lock.open("a+b") as file:
            if not _lock(file):
                return
            file.truncate(0)
            file.write(Holder.this_process(self._digest).to_bytes())
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
        """The process that holds the lock, 0 if it has not written its pid, None if nobody does."""
        holder = self._holder()
        return None if holder is None else holder.pid

    def end(self) -> bool:
        """End the job if it is running; True if it was."""
        ended = [_end_worker(holder) for holder in self._holders()]
        return any(ended)

    def _holder(self) -> Holder | None:
        """The holder of the lock, None if it is free.

        A worker that has just taken the lock has not written into it yet: what is read then is the
        worker before it, which is gone.
        """
        try:
            with self._lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            with suppress(FileNotFoundError):
                return Holder.parse(self._lock.read_bytes())
        return None

    def _holders(self) -> Iterator[Holder]:
        """The holder of the lock, again and again, until it is free or a while has passed."""
        deadline = time.monotonic() + _GRACE_SECONDS
        while (holder := self._holder()) and time.monotonic() < deadline:
            yield holder
            time.sleep(_POLL_SECONDS)

    def _end_other_job(self) -> None:
        """End a job of an earlier specification of the run."""
        for holder in self._holders():
            if holder.digest == self._digest:
                return
            if holder.owns_session():
                log.warning(
                    "the run was specified again: ending its old job, process %s", holder.pid
                )
                _end_session(holder.pid)
        last = self._holder()
        if last and last.digest != self._digest:
            raise LostWorkError(
                f"a job of the run's earlier specification holds {self._lock} and cannot be ended "
                f"from here: end process {last.pid}, then run the same command again"
            )

    def _end_orphans(self) -> None:
        """End processes that a killed worker has left: they would write into the retry's folder."""
        last = Holder.parse(self._lock.read_bytes()) if self._lock.is_file() else Holder(0)
        if self.pid() is None:  # else `last` may be a worker that another command has just started
            _end_worker(last)

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
            while self._is_running(process):
                _copy(lines)
                time.sleep(_POLL_SECONDS)
            _copy(lines)

    def _is_running(self, process: "subprocess.Popen[bytes] | None") -> bool:
        if process is not None and process.poll() is None:
            return True
        return self.pid() is not None  # ours may have found another worker, and we attached to it

    @contextmanager
    def _ended_with_us(self, process: "subprocess.Popen[bytes] | None") -> Iterator[None]:
        def end(number: int, frame: FrameType | None) -> NoReturn:
            log.error("%s: ending the job too; a re-run resumes it", signal.Signals(number).name)
            if process is not None and process.poll() is None:
                _end_session(process.pid)
            for holder in self._holders():
                if holder.digest != self._digest and holder.exists():
                    break  # a command for the run's new specification has started it
                _end_worker(holder)
            sys.exit(128 + number)

        before = {s: signal.signal(s, end) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def end_all(workspaces: Path) -> list[str]:
    """End all jobs that are running in some workspaces (RUN/STAGE); return their names."""
    ended = [job for job in _folders(workspaces, "*/*/") if BackgroundJob(job).end()]
    return [f"{job.parent.name}/{job.name}" for job in ended]


def remove_old(workspaces: Path, *, days: float) -> None:
    """Remove the folders of jobs (RUN/STAGE) that are not running and were not used for some days.

    Several commands may do so at the same time.
    """
    before = time.time() - days * 86400
    for folder in _folders(workspaces, "*/*/"):
        if _last_used(folder) < before and BackgroundJob(folder).pid() is None:
            log.info("removing the workspace %s, untouched for %g days", folder, days)
            _remove(folder)
    for run in _folders(workspaces, "*/"):
        with suppress(OSError):
            run.rmdir()  # if it is empty


def _folders(workspaces: Path, pattern: str) -> list[Path]:
    paths = glob.glob(pattern, root_dir=workspaces)  # noqa: PTH207  # skips vanished folders
    return [workspaces / path for path in sorted(paths)]


def _last_used(folder: Path) -> float:
    """Time of a job's last start; infinite if the folder is gone."""
    for path in (folder / "lock", folder):
        with suppress(FileNotFoundError):
            return path.stat().st_mtime
    return math.inf


def _remove(folder: Path) -> None:
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:  # another command removes it too
            continue
        except OSError as error:
            log.warning("%s cannot be removed: %s", folder, error)
            return


def _lock(file: BinaryIO) -> bool:
    """Take the lock; False if another worker holds it.

    `_holder` takes it for a moment, so the attempt is repeated.
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


def _end_worker(holder: Holder) -> bool:
    """End a worker's session, unless its pid was reused; True if it was ended."""
    if not holder.owns_session():
        return False
    _end_session(holder.pid)
    return True


def _end_session(pid: int) -> None:
    """SIGTERM to every process of a session, SIGKILL to those left after a while."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < deadline:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            os.killpg(pid, 0)  # raises when all are gone
            time.sleep(_POLL_SECONDS)
        os.killpg(pid, signal.SIGKILL)
