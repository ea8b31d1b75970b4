"""Work that outlives the command which started it, with real processes and real signals."""

import fcntl
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from pipeline_steps.nights import workers
from pipeline_steps.nights.lock_holder import Holder, boot_id, start_of
from pipeline_steps.nights.workers import BackgroundJob, end_all, remove_old
from tests.faults import forks
from tests.raw_logs import REPOSITORY

# Both run from one file: `show FOLDER WORK` starts `work FOLDER WORK` and shows it.
PROGRAM = """
import sys, os, time, subprocess
from pathlib import Path
from diffrec_core.common.errors import DataError, DiffRecError
from pipeline_steps.nights.workers import BackgroundJob, LostWorkError

role, folder, code = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
of = os.environ.get("OF", "")
if role == "show":
    command = [sys.executable, __file__, "work", str(folder), code]
    try:
        sys.exit(BackgroundJob(folder, of).show(command, cwd=folder.parent))
    except LostWorkError as error:
        print(error, file=sys.stderr)
        sys.exit(70)

def say(text):
    print(text, flush=True)

def note(name):
    with (folder.parent / name).open("a") as file:
        file.write(f"{os.getpid()}\\n")

def wait_for(name):
    while not (folder.parent / name).exists():
        time.sleep(0.02)

def action():
    note("worker")
    found = {}
    exec(code, {**globals(), "note": note}, found)
    return found.get("code", 0)

BackgroundJob(folder, of).do(action)
"""


class Bench:
    """A folder in which work is shown."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "program.py"
        self.program.write_text(PROGRAM)
        self.shows: list[subprocess.Popen[str]] = []

    def show(self, work: str, of: str = "") -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, self.program, "show", self.folder / "work", work],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OF": of},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.shows.append(process)
        return process

    def pids(self, name: str = "worker") -> list[int]:
        path = self.folder / name
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def let(self, name: str) -> None:
        (self.folder / name).touch()

    def log(self) -> str:
        path = self.folder / "work" / "stage.log"
        return path.read_text() if path.exists() else ""


def until(holds: Callable[[], object], seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def end_of(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=240)
    return process.returncode, output, errors


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for pid in [*made.pids(), *made.pids("child")]:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
    for process in made.shows:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("code", [0, 3, 99])
def test_the_exit_code_and_all_that_was_said(bench: Bench, code: int) -> None:
    work = f"""
say("first")
subprocess.run(["sh", "-c", "echo of a child; echo to stderr >&2"])
say("last")
code = {code}
"""
    found, output, _ = end_of(bench.show(work))
    assert found == code
    assert output == "first\nof a child\nto stderr\nlast\n"
    assert bench.log() == output


def test_the_next_time_begins_anew(bench: Bench) -> None:
    assert end_of(bench.show("say('one'); code = 1"))[:2] == (1, "one\n")
    assert end_of(bench.show("say('two')"))[:2] == (0, "two\n")
    assert len(bench.pids()) == 2


def test_an_error_of_ours_leaves_its_exit_code(bench: Bench) -> None:
    code, output, _ = end_of(bench.show("raise DataError('the log is empty')"))
    assert code == 3
    assert "the log is empty" in output
    assert "Traceback" not in output


def test_a_bug_leaves_its_traceback_and_exit_code_1(bench: Bench) -> None:
    code, output, _ = end_of(bench.show("1 / 0"))
    assert code == 1
    assert "ZeroDivisionError" in output


def test_a_worker_that_does_not_start_is_lost_work(bench: Bench) -> None:
    bench.program.write_text(PROGRAM.replace("def say", "sys.exit('no memory')\ndef say"))
    code, output, errors = end_of(bench.show("pass"))
    assert code == 70
    assert output == "no memory\n"
    assert "the job was killed (exit status 1): run the same command again" in errors
    assert "stage.log" in errors


def test_a_killed_command_leaves_the_work_and_the_next_joins_it(bench: Bench) -> None:
    work = "say('before'); wait_for('go'); say('after'); code = 5"
    first = bench.show(work)
    until(lambda: "before" in bench.log())
    first.kill()
    end_of(first)
    (worker,) = bench.pids()
    assert alive(worker)
    second = bench.show("say('another piece of work')")
    assert second.stdout
    assert second.stdout.readline() == "before\n"  # the whole log, from its beginning
    bench.let("go")
    code, output, errors = end_of(second)
    assert (code, output) == (5, "after\n")
    assert f"already running; attaching to process {worker}" in errors
    assert bench.pids() == [worker]


def test_work_of_another_specification_is_ended_and_not_joined(bench: Bench) -> None:
    script = "echo $$ >> ../child; sleep 600"
    first = bench.show(f"subprocess.run(['sh', '-c', '{script}'], cwd=folder)", of="old params")
    until(lambda: bench.pids("child"))
    first.kill()
    end_of(first)
    code, output, errors = end_of(bench.show("say('anew'); code = 4", of="new params"))
    assert (code, output) == (4, "anew\n"), errors
    old, _ = bench.pids()
    assert f"the run was specified again: ending its old job, process {old}" in errors
    assert not alive(old)
    assert not alive(bench.pids("child")[0])


def test_work_that_ended_between_two_commands_is_done_again(bench: Bench) -> None:
    first = bench.show("say('a'); wait_for('go'); code = 5")
    until(lambda: "a" in bench.log())
    first.kill()
    bench.let("go")
    until((bench.folder / "work" / "result.json").exists)
    until(lambda: not alive(bench.pids()[0]))
    assert end_of(bench.show("say('b')"))[:2] == (0, "b\n")


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_of_the_work(bench: Bench, number: signal.Signals, joined: bool) -> None:
    work = """
say("begun")
script = "echo $$ >> ../child; sleep 600 & echo $! >> ../child; wait"
subprocess.run(["sh", "-c", script], cwd=folder)
"""
    show = bench.show(work)
    until(lambda: len(bench.pids("child")) == 2)
    if joined:
        show.kill()
        show = bench.show(work)
        assert show.stdout
        assert show.stdout.readline() == "begun\n"
    show.send_signal(number)
    code, _, errors = end_of(show)
    assert code == 128 + number
    assert f"{number.name}: ending the job too" in errors
    # the last may be with init, which has to find out that they have ended
    until(lambda: not any(map(alive, [*bench.pids(), *bench.pids("child")])))
    assert not (bench.folder / "work" / "result.json").exists()


def test_a_worker_killed_is_lost_work_and_its_lock_is_free(bench: Bench) -> None:
    show = bench.show("say('begun'); wait_for('never')")
    until(lambda: "begun" in bench.log())
    os.kill(bench.pids()[0], signal.SIGKILL)
    code, output, errors = end_of(show)
    assert (code, output) == (70, "begun\n")
    assert "the job was killed (exit status -9)" in errors
    assert end_of(bench.show("say('again')"))[:2] == (0, "again\n")


def test_a_killed_workers_children_are_ended_before_the_next_try(bench: Bench) -> None:
    show = bench.show("subprocess.run(['sh', '-c', 'echo $$ > ../child; sleep 600'], cwd=folder)")
    until(lambda: bench.pids("child"))
    os.kill(bench.pids()[0], signal.SIGKILL)
    assert end_of(show)[0] == 70
    (child,) = bench.pids("child")
    code, output, _ = end_of(bench.show(f"say(Path('/proc/{child}').exists())"))
    assert (code, output) == (0, "False\n")  # else two trainings would write to one folder
    assert not alive(child)


@pytest.fixture
def stranger(bench: Bench) -> tuple[int, int]:
    """A session of somebody else, whose first process is gone: its number, and who is left."""
    command = ["sh", "-c", "sleep 600 > /dev/null 2>&1 & echo $!"]
    leader = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert leader.stdout
    left = int(leader.stdout.readline())
    leader.communicate()
    with (bench.folder / "child").open("a") as file:
        file.write(f"{left}\n")
    return leader.pid, left


def test_after_a_reboot_nobody_is_taken_for_a_killed_worker(
    bench: Bench, stranger: tuple[int, int]
) -> None:
    session, left = stranger
    lock = bench.folder / "work" / "lock"
    lock.parent.mkdir()
    lock.write_bytes(Holder(session, boot="of another day", started="1").to_bytes())
    assert end_of(bench.show("say('done')"))[:2] == (0, "done\n")
    assert alive(left)
    lock.write_bytes(Holder(session, boot=boot_id(), started="1").to_bytes())
    assert end_of(bench.show("say('done')"))[:2] == (0, "done\n")
    until(lambda: not alive(left))


def test_a_number_that_was_given_to_another_process_is_no_workers() -> None:
    mine = Holder.this_process("")
    assert mine.owns_session()  # such as a zombie: its children may live on
    assert not replace(mine, started="1").owns_session()
    assert not replace(mine, started=None).owns_session()
    assert not replace(mine, boot="of another day").owns_session()
    assert not Holder(0, boot=boot_id()).owns_session()
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert replace(mine, pid=gone.pid).owns_session()


@pytest.mark.parametrize("content", [b"", b"{", b"4711", b"null", b'{"who": 1}'])
def test_a_lock_of_another_form_names_nobody(content: bytes) -> None:
    assert Holder.parse(content) == Holder(0)


def test_a_joined_worker_killed_is_lost_work_too(bench: Bench) -> None:
    first = bench.show("say('begun'); wait_for('never')")
    until(lambda: "begun" in bench.log())
    first.kill()
    second = bench.show("pass")
    assert second.stdout
    second.stdout.readline()
    os.kill(bench.pids()[0], signal.SIGKILL)
    code, _, errors = end_of(second)
    assert code == 70
    assert "the job ended with no exit status (killed, or the machine restarted)" in errors


@pytest.mark.parametrize("turn", range(4))
def test_of_many_commands_at_once_one_works_and_all_tell(bench: Bench, turn: int) -> None:
    work = "say('begun'); wait_for('go'); say('done'); code = 7"
    shows = [bench.show(work) for _ in range(4)]
    until(lambda: "begun" in bench.log())
    time.sleep(1.0)  # the others are there too
    bench.let("go")
    for code, output, errors in map(end_of, shows):
        assert code == 7, errors
        assert output.endswith("done\n")
    assert len(bench.pids()) == 1


@contextmanager
def locked(folder: Path, holder: Holder) -> Iterator[Callable[[Holder], None]]:
    """A lock that is held; it names somebody, and the next one when that is called."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb", buffering=0) as lock:
        lock.write(holder.to_bytes())
        fcntl.flock(lock, fcntl.LOCK_EX)

        def name(following: Holder) -> None:
            lock.seek(0)
            lock.truncate()
            lock.write(following.to_bytes())

        yield name


@pytest.fixture
def another_pid(bench: Bench) -> Iterator[Holder]:
    """A worker of long ago; its pid is that of somebody else's session now."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield Holder(process.pid, "old params", boot_id(), started="1")
    process.kill()
    process.wait()


def test_before_a_worker_has_written_its_pid_nobody_else_is_ended(
    bench: Bench, another_pid: Holder
) -> None:
    """It has the lock, which names whoever had it before."""
    folder = bench.folder / "work"
    with locked(folder, another_pid) as name:
        (folder / "stage.log").write_text("of the other worker\n")
        show = bench.show("pass", of="new params")
        time.sleep(2.0)
        name(Holder.this_process("new params"))
        assert show.stderr
        assert "already running; attaching" in show.stderr.readline()
        (folder / "result.json").write_text('{"exit_code": 6}')
    assert end_of(show)[0] == 6
    assert alive(another_pid.pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_no_session_of_somebody_else(
    bench: Bench, another_pid: Holder, number: signal.Signals
) -> None:
    folder = bench.folder / "work"
    folder.mkdir()
    (folder / "stage.log").touch()
    with locked(folder, another_pid):
        show = bench.show("pass", of=another_pid.digest)
        assert show.stderr
        assert "already running; attaching" in show.stderr.readline()
        time.sleep(0.5)
        show.send_signal(number)
        assert "ending the job too" in show.stderr.readline()
        time.sleep(0.5)  # it has looked at the lock
    assert end_of(show)[0] == 128 + number
    assert alive(another_pid.pid)


def test_ending_all_ends_no_session_of_somebody_else(
    bench: Bench, another_pid: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_GRACE_SECONDS", 0.5)
    with locked(bench.folder / "run" / "stage", another_pid):
        assert end_all(bench.folder) == []
    assert alive(another_pid.pid)


def test_ending_all_ends_work_and_names_it(bench: Bench) -> None:
    show = bench.show("say('begun'); wait_for('never')")
    until(lambda: "begun" in bench.log())
    assert end_all(bench.folder.parent) == [f"{bench.folder.name}/work"]
    assert end_of(show)[0] == 70
    assert not alive(bench.pids()[0])


def test_a_worker_that_another_command_has_just_started_is_no_orphan(bench: Bench) -> None:
    worker = subprocess.Popen(["sleep", "600"], start_new_session=True)
    holder = Holder(worker.pid, "", boot_id(), start_of(worker.pid))
    with locked(bench.folder / "work", holder):
        BackgroundJob(bench.folder / "work")._end_orphans()
    assert worker.poll() is None
    BackgroundJob(bench.folder / "work")._end_orphans()  # without the lock it is one
    worker.wait()
    assert not alive(worker.pid)


def test_work_that_cannot_be_ended_is_not_taken_for_the_runs(
    bench: Bench, another_pid: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_GRACE_SECONDS", 0.5)
    job = BackgroundJob(bench.folder / "work", "new params")
    with (
        locked(job.folder, another_pid),
        pytest.raises(workers.LostWorkError, match=f"end process {another_pid.pid}"),
    ):
        job.show(["false"], cwd=bench.folder)


def old_workspaces(folder: Path) -> list[Path]:
    """Three runs with two stages each, in which nothing has happened for long."""
    stages = [folder / f"run-{run}" / f"stage-{stage}" for run in range(3) for stage in range(2)]
    for stage in stages:
        (stage / "repo" / "deep").mkdir(parents=True)
        for name in ("lock", *(f"repo/deep/{number}" for number in range(30))):
            (stage / name).touch()
        os.utime(stage / "lock", (0, 0))
    return stages


def test_workspaces_that_nobody_came_back_to_are_removed(tmp_path: Path) -> None:
    fresh, used, *others = old_workspaces(tmp_path)
    os.utime(fresh / "lock")
    with locked(used, Holder(0)):
        os.utime(used / "lock", (0, 0))
        remove_old(tmp_path, days=14)
    assert sorted(tmp_path.glob("*/*")) == [fresh, used]
    assert [path.name for path in tmp_path.iterdir()] == ["run-0"]
    assert not any(path.exists() for path in others)


@pytest.mark.parametrize("turn", range(1, 7))
def test_workspaces_that_another_command_removes_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    stages, pid, turns = old_workspaces(tmp_path), BackgroundJob.pid, [turn]

    def while_another_removes(job: BackgroundJob) -> int | None:
        turns[0] -= 1
        if turns[0] == 0:
            for stage in stages:
                shutil.rmtree(stage.parent, ignore_errors=True)
        return pid(job)

    monkeypatch.setattr(BackgroundJob, "pid", while_another_removes)
    remove_old(tmp_path, days=14)
    assert list(tmp_path.iterdir()) == []


def test_workspaces_that_are_gone_before_they_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages, scan = old_workspaces(tmp_path), os.scandir

    def of_a_folder_that_has_gone(folder: object = ".") -> Any:
        if str(folder) == str(stages[0].parent) and stages[0].exists():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "scandir", scan)
                shutil.rmtree(stages[0].parent)
        return scan(folder)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", of_a_folder_that_has_gone)
    assert end_all(tmp_path) == []
    assert not stages[0].exists()
    remove_old(tmp_path, days=14)
    assert list(tmp_path.glob("*")) == []


@forks
def test_several_commands_clean_up_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")

    def clean_up(turn: int, start: Barrier) -> None:
        start.wait()
        remove_old(tmp_path / str(turn), days=14)

    for turn in range(10):
        old_workspaces(tmp_path / str(turn))
        start = context.Barrier(3)
        processes = [context.Process(target=clean_up, args=(turn, start)) for _ in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert list((tmp_path / str(turn)).iterdir()) == []
