"""Stages of a run, each in a workspace of its own, on machines that share only the remote."""

import os
import signal
import time
from pathlib import Path

import pytest

from pipeline_steps.nights.run_stage import last_words
from pipeline_steps.nights.runs import End, Run, ends
from tests.steps.tiny_runs import PARAMS, STAGES, Tiny, ended, md5, until

EVAL = ("result a 1 built-one", "result b 2 built-one")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The project after a whole run `first`, each stage on a machine of its own."""
    made = Tiny(tmp_path_factory.mktemp("runs"))
    run = made.specify("first", end="2026-11-01T00:00:00+00:00")
    made.run_all("first")
    assert made.ran() == list(STAGES)
    run.finish()
    return made


def lines(*texts: str) -> str:
    return "".join(f"{text}\n" for text in texts)


def read(tiny: Tiny, run: str, stage: str, path: str) -> str:
    """An output as the remote has it, by the entry that the stage left."""
    outs = {out["path"]: out["md5"] for out in Run.load(tiny.store, run).entries()[stage]["outs"]}
    md5_of = outs[path]
    file = tiny.folder / "remote" / "dvc" / "files" / "md5" / md5_of[:2] / md5_of[2:]
    return file.read_text()


def test_a_whole_run_on_five_machines(tiny: Tiny) -> None:
    assert set(Run.load(tiny.store, "first").entries()) == set(STAGES)
    assert read(tiny, "first", "register", "reports/best.txt") == lines(*EVAL)


def test_only_what_a_stage_reads_was_brought(tiny: Tiny) -> None:
    assert tiny.cached("list_raw") == md5("one")
    assert tiny.cached("build") == md5("one", "built-one")
    assert tiny.cached("train@a") == md5("built-one", "model a 1", EVAL[0])
    assert tiny.cached("train@b") == md5("built-one", "model b 2", EVAL[1])
    # its dependency is the folder above two outputs; best and history are equal
    assert tiny.cached("register") == md5(*EVAL, "\n".join(EVAL))


def test_workspaces_of_finished_work_are_gone_and_the_logs_stay(tiny: Tiny) -> None:
    for stage in STAGES:
        assert not (tiny.work(stage, "first") / "repo").exists()
        log = (tiny.work(stage, "first") / "stage.log").read_text()
        assert f"{stage}: done, its outputs are in the remote" in log


@pytest.mark.parametrize("machine", [None, "fresh"])
def test_a_finished_stage_is_not_run_again(tiny: Tiny, machine: str | None) -> None:
    before = Run.load(tiny.store, "first").entries()
    for stage in ("train@a", "register"):
        done = tiny.run(stage, "first", machine)
        assert done.code == 0, done.output
        assert "nothing that it reads has changed" in done.output
    assert tiny.ran() == []
    assert Run.load(tiny.store, "first").entries() == before


def test_a_changed_parameter_runs_again_what_depends_on_it(tiny: Tiny) -> None:
    tiny.specify("changed", previous="first")
    tiny.run_all("changed")
    assert tiny.ran() == ["list_raw"]  # it always looks; the rest is taken up
    tiny.specify("changed", PARAMS.replace("n: 1", "n: 5"), previous="first")
    tiny.run_all("changed")
    assert tiny.ran() == ["list_raw", "train@a", "register"]
    best = lines("result a 5 built-one", EVAL[1])
    assert read(tiny, "changed", "register", "reports/best.txt") == best


def test_a_later_run_takes_up_what_holds_and_what_persists(tiny: Tiny) -> None:
    tiny.specify("later", previous="first")
    tiny.run_all("later", machine="other")  # of the machines before, it has nothing
    assert tiny.ran() == ["list_raw"]
    assert (tiny.side / "seen").read_text() == "built-one\n"  # the ids of the run before
    tiny.world("two")
    tiny.specify("latest", previous="first")
    tiny.run_all("latest", machine="third")
    tiny.world("one")
    assert tiny.ran() == list(STAGES)
    new = ("result a 1 built-two", "result b 2 built-two")
    assert read(tiny, "latest", "register", "reports/best.txt") == lines(*new)
    assert read(tiny, "latest", "register", "reports/history.txt") == lines(*EVAL, *new)


def test_a_run_that_is_specified_anew_with_fewer_models_is_without_the_others(tiny: Tiny) -> None:
    tiny.specify("fewer", PARAMS.replace("n: 1", "n: 50"), previous="first")
    tiny.run_all("fewer")
    assert "train@b:" in (tiny.side / "lock").read_text()
    tiny.specify("fewer", PARAMS.replace("n: 1", "n: 50").partition("  b:")[0], previous="first")
    tiny.run_all("fewer", ("list_raw", "build", "train@a", "register"))
    assert "train@b:" not in (tiny.side / "lock").read_text()
    assert read(tiny, "fewer", "register", "reports/best.txt") == "result a 50 built-one\n"
    tiny.ran()


def test_a_failing_stage_gives_its_code_and_keeps_its_workspace(tiny: Tiny) -> None:
    tiny.specify("failing", PARAMS.replace("n: 1", "n: 7"), previous="first")
    tiny.run_all("failing", ("list_raw", "build"))
    (tiny.side / "fail-train@a").touch()
    done = tiny.run("train@a", "failing")
    assert done.code == 3
    assert "train@a fails" in done.output
    assert "train@a of run failing ended with exit code 3" in done.output
    noted = ends(tiny.store, "failing")
    assert (noted["build"].exit_code, noted["build"].said) == (0, "")
    assert noted["train@a"].exit_code == 3
    # from the first error on, without the time of day; what was said before it is left out
    assert noted["train@a"].said.startswith("failed to reproduce 'train@a'")
    assert "train@a" not in Run.load(tiny.store, "failing").entries()
    left = tiny.work("train@a", "failing") / "repo" / "checkpoint.tmp"
    left.write_text("of the first try")
    assert (left.parent / ".dvc/tmp/site_cache/repo").is_dir()  # not in a folder of the machine
    (tiny.side / "fail-train@a").rename(tiny.side / "hold-train@a")
    process = tiny.begin("train@a", "failing")
    tiny.worker("train@a", "failing")
    assert left.read_text() == "of the first try"
    (tiny.side / "hold-train@a").unlink()
    assert ended(process).code == 0
    assert ends(tiny.store, "failing")["train@a"] == End(0, "")
    assert not left.parent.exists()
    assert tiny.ran() == ["list_raw", "train@a", "train@a"]


def test_last_words_are_the_error_and_what_follows_it(tmp_path: Path) -> None:
    log = tmp_path / "stage.log"
    early = [f"03:00:0{n} ERROR   of long ago" for n in range(2)]
    rows = [f"03:00:00 INFO    {n}" for n in range(27)]
    error = ["03:00:01 ERROR   4 rows were rejected", "  for example: row 3", "ERROR: and so on"]
    log.write_text("\n".join([*early, *rows, *error]))
    assert last_words(log) == "4 rows were rejected\n  for example: row 3\nERROR: and so on"
    log.write_text("\n".join([*rows, "Traceback (most recent call last):", "KeyError: 'x'"]))
    assert last_words(log) == "Traceback (most recent call last):\nKeyError: 'x'"
    log.write_text("begun\nended\n")
    assert last_words(log) == "begun\nended"


def test_a_worker_killed_in_mid_stage_is_made_good_by_the_same_command(tiny: Tiny) -> None:
    tiny.specify("killed", PARAMS.replace("n: 2", "n: 8"), previous="first")
    tiny.run_all("killed", ("list_raw", "build"))
    (tiny.side / "hold-train@b").touch()
    process = tiny.begin("train@b", "killed")
    os.kill(tiny.worker("train@b", "killed"), signal.SIGKILL)
    done = ended(process)
    assert done.code == 1
    assert "the job was killed (exit status -9): run the same command again" in done.output
    assert "train@b" not in Run.load(tiny.store, "killed").entries()
    assert ends(tiny.store, "killed")["train@b"].said.startswith("the job was killed")
    (tiny.side / "hold-train@b").unlink()
    repo = tiny.work("train@b", "killed") / "repo"
    (repo / "models" / "b.txt").write_text("half an output")
    (repo / "data" / "interactions" / "all.txt").write_text("half of what was brought")
    done = tiny.run("train@b", "killed")
    assert done.code == 0, done.output
    result = "result b 8 built-one\n"
    assert read(tiny, "killed", "train@b", "reports/eval/b.txt") == result
    assert tiny.ran() == ["list_raw", "train@b", "train@b"]


def test_a_worker_killed_after_its_outputs_were_sent(tiny: Tiny) -> None:
    tiny.specify("unnoted", PARAMS.replace("n: 1", "n: 9"), previous="first")
    tiny.run_all("unnoted", ("list_raw", "build"))
    done = tiny.run("train@a", "unnoted", KILL_BEFORE_ENTRY=str(tiny.side / "mark"))
    assert done.code == 1
    assert "train@a" not in Run.load(tiny.store, "unnoted").entries()
    done = tiny.run("train@a", "unnoted", "elsewhere")  # not even on the same machine
    assert done.code == 0, done.output
    assert read(tiny, "unnoted", "train@a", "models/a.txt") == "model a 9\n"
    done = tiny.run("train@a", "unnoted")
    assert done.code == 0, done.output
    assert tiny.ran() == ["list_raw", "train@a", "train@a"]


def test_a_signal_ends_the_stage_and_nothing_is_noted(tiny: Tiny) -> None:
    tiny.specify("ended", PARAMS.replace("n: 1", "n: 6"), previous="first")
    tiny.run_all("ended", ("list_raw", "build"))
    (tiny.side / "hold-train@a").touch()
    process = tiny.begin("train@a", "ended")
    tiny.worker("train@a", "ended")
    process.terminate()
    assert ended(process).code == 143
    (tiny.side / "hold-train@a").unlink()
    assert tiny.run("train@a", "ended").code == 0
    tiny.ran()


def test_two_commands_at_once_run_the_stage_once(tiny: Tiny) -> None:
    tiny.specify("twice", PARAMS.replace("n: 1", "n: 10"), previous="first")
    tiny.run_all("twice", ("list_raw", "build"))
    (tiny.side / "hold-train@a").touch()
    both = [tiny.begin("train@a", "twice") for _ in range(2)]
    tiny.worker("train@a", "twice")
    time.sleep(1.0)
    (tiny.side / "hold-train@a").unlink()
    for done in map(ended, both):
        assert done.code == 0, done.output
    assert tiny.ran() == ["list_raw", "train@a"]


def test_two_runs_at_once_on_one_machine(tiny: Tiny) -> None:
    for name, value in (("left", 20), ("right", 21)):
        tiny.specify(name, PARAMS.replace("n: 1", f"n: {value}"), previous="first")
        tiny.run_all(name, ("list_raw", "build"), "shared")
    both = [tiny.begin("train@a", name, "shared") for name in ("left", "right")]
    for done in map(ended, both):
        assert done.code == 0, done.output
    assert read(tiny, "left", "train@a", "models/a.txt") == "model a 20\n"
    assert read(tiny, "right", "train@a", "models/a.txt") == "model a 21\n"
    assert sorted(tiny.ran()) == ["list_raw", "list_raw", "train@a", "train@a"]


@pytest.mark.parametrize(
    ("stage", "run", "code", "message"),
    [
        ("build", "empty", 5, "data/listed.txt: no finished stage of the run has written them"),
        ("register", "empty", 5, "run the stages that write them first"),
        ("unheard_of", "empty", 2, "there is no stage 'unheard_of'; known: build, list_raw"),
        ("build", "unheard_of", 4, "there is no run 'unheard_of'"),
        ("build", "astray", 2, "git checkout"),
        ("promote", "dry", 99, "dry run: nothing is changed"),
        ("recommend", "dry", 99, "dry run: nothing is changed"),
        ("publish", "dry", 99, "dry run: nothing is changed"),
    ],
)
def test_what_cannot_be_or_need_not_be_done(
    tiny: Tiny, stage: str, run: str, code: int, message: str
) -> None:
    tiny.specify("empty")
    tiny.specify("astray", commit="0" * 40)
    tiny.specify("dry", dry_run=True)
    done = tiny.run(stage, run, "idle")
    assert done.code == code, done.output
    assert message in done.output
    assert "Traceback" not in done.output
    assert tiny.ran() == []
    assert not (tiny.folder / "published").exists()


def test_a_clone_that_was_killed_is_made_anew(tiny: Tiny) -> None:
    tiny.specify("cloned")
    half = tiny.work("list_raw", "cloned") / "repo.new"
    half.parent.mkdir(parents=True)
    tiny.git("clone", "-q", "--no-checkout", str(tiny.root), str(half))
    tiny.run_all("cloned", ("list_raw",))
    assert tiny.ran() == ["list_raw"]


def test_a_run_that_was_lost_by_its_command_is_joined(tiny: Tiny) -> None:
    tiny.specify("lost", PARAMS.replace("n: 1", "n: 30"), previous="first")
    tiny.run_all("lost", ("list_raw", "build"))
    (tiny.side / "hold-train@a").touch()
    first = tiny.begin("train@a", "lost")
    tiny.worker("train@a", "lost")
    first.kill()
    ended(first)
    second = tiny.begin("train@a", "lost")
    time.sleep(1.5)
    (tiny.side / "hold-train@a").unlink()
    done = ended(second)
    assert done.code == 0, done.output
    assert "already running; attaching to process" in done.output
    until(lambda: "train@a" in Run.load(tiny.store, "lost").entries())
    assert tiny.ran() == ["list_raw", "train@a"]


def test_work_of_old_parameters_is_ended_and_not_joined(tiny: Tiny) -> None:
    tiny.specify("mended", PARAMS.replace("n: 1", "n: 40"), previous="first")
    tiny.run_all("mended", ("list_raw", "build"))
    (tiny.side / "hold-train@a").touch()
    first = tiny.begin("train@a", "mended")
    old = tiny.worker("train@a", "mended")
    first.kill()
    ended(first)
    tiny.specify("mended", PARAMS.replace("n: 1", "n: 41"), previous="first")
    second = tiny.begin("train@a", "mended")
    until(lambda: tiny.worker("train@a", "mended") not in (0, old))
    (tiny.side / "hold-train@a").unlink()
    done = ended(second)
    assert done.code == 0, done.output
    assert f"the run was specified again: ending its old job, process {old}" in done.output
    assert read(tiny, "mended", "train@a", "models/a.txt") == "model a 41\n"
    assert tiny.ran() == ["list_raw", "train@a", "train@a"]
