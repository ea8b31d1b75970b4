"""Work that outlives the command which started it, with real processes and real signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_steps.nights.lock_holder import Holder, boot_id
from tests.raw_logs import REPOSITORY

# Both run from one file: `show FOLDER WORK` starts `work FOLDER WORK` and shows it.
PROGRAM = """
import sys, os, time, subprocess
from pathlib import Path
from diffrec_core.common.errors import DataError, DiffRecError
from pipeline_steps.nights.workers import LostWorkError, Work

role, folder, code = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
of = os.environ.get("OF", "")
if role == "show":
    command = [sys.executable, __file__, "work", str(folder), code]
    try:
        sys.exit(Work(folder, of).show(command, cwd=folder.parent))
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

Work(folder, of).do(action)
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


def until(holds: Callable[[], object], seconds: float = 30.0) -> None:
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
    output, errors = process.communicate(timeout=60)
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
    assert "the work was killed (exit status 1): run the same command again" in errors
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
    assert f"joining work that goes on already: process {worker}" in errors
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
    assert f"the run was specified anew: ending its old work, {old}" in errors
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
    started = time.monotonic()
    show.send_signal(number)
    code, _, errors = end_of(show)
    assert code == 128 + number
    assert f"{number.name}: ending the work too" in errors
    # the last may be with init, which has to find out that they have ended
    until(lambda: not any(map(alive, [*bench.pids(), *bench.pids("child")])), 5)
    assert time.monotonic() - started < 25
    assert not (bench.folder / "work" / "result.json").exists()


def test_a_worker_killed_is_lost_work_and_its_lock_is_free(bench: Bench) -> None:
    show = bench.show("say('begun'); wait_for('never')")
    until(lambda: "begun" in bench.log())
    os.kill(bench.pids()[0], signal.SIGKILL)
    code, output, errors = end_of(show)
    assert (code, output) == (70, "begun\n")
    assert "the work was killed (exit status -9)" in errors
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
    assert "the work was killed (no trace)" in errors


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
