"""start_run: from a command line and params.yaml to the specification of a run."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline_steps.nights.runs import Run, RunSpec
from pipeline_steps.nights.store import Store
from tests.raw_logs import REPOSITORY, run_step

END = "2026-11-24"
END_UTC = "2026-11-24T00:00:00+00:00"


@dataclass
class Answer:
    """What a command said."""

    code: int
    output: str
    errors: str


class Project:
    """A copy of the code as a git repository of one commit, and a process that runs its steps."""

    def __init__(self, root: Path) -> None:
        self.root, self.store_url = root, ""
        for name in ("diffrec_core", "pipeline_steps"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / name, root / name, ignore=ignored)
        for name in ("params.yaml", ".gitignore"):
            shutil.copyfile(REPOSITORY / name, root / name)
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        for command in (("init", "-q"), ("add", "-A"), (*identity, "commit", "-qm", "start")):
            self.git(*command)
        self.committed_params = (root / "params.yaml").read_text()
        driver = Path(__file__).with_name("one_process.py")
        self.process = subprocess.Popen(
            [sys.executable, driver],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout.strip()

    def start(self, run: str, *arguments: str) -> Answer:
        asked = {
            "arguments": ["start-run", "--run", run, *arguments],
            "environment": {"DIFFREC_REMOTE": self.store_url},
        }
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return Answer(**json.loads(self.process.stdout.readline()))

    def specified(self, run: str, *arguments: str) -> tuple[RunSpec, dict[str, Any]]:
        """Start a run and return its specification and its parameters."""
        answer = self.start(run, *arguments)
        assert answer.code == 0, answer.errors
        found = Run.load(self.store, run)
        return found.spec, YAML(typ="safe", pure=True).load(found.params)

    def refused(self, *arguments: str) -> str:
        """Start a run, which must be refused and leave nothing; return the message."""
        answer = self.start("refused", *arguments)
        assert answer.code == 2, answer.errors
        assert "Traceback" not in answer.errors
        assert self.store.names("runs/refused") == []
        return answer.errors

    @property
    def store(self) -> Store:
        return Store(f"{self.store_url}/store")

    def change(self, **sections: Any) -> None:
        """Put values into the project's params.yaml, section by section."""
        params = YAML(typ="safe").load(self.committed_params)
        for name, values in sections.items():
            params[name] = {**params[name], **values}
        YAML(typ="safe").dump(params, self.root / "params.yaml")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("start") / "a project")
    yield project
    assert project.process.stdin
    project.process.stdin.close()
    project.process.wait(30)
    assert project.process.stdout
    project.process.stdout.close()


@pytest.fixture
def project(copied: Project, tmp_path: Path) -> Iterator[Project]:
    copied.store_url = str(tmp_path / "remote")
    yield copied
    copied.git("checkout", "-q", "--", ".")


def test_a_run_is_what_the_command_line_and_params_say(project: Project) -> None:
    spec, params = project.specified("night", "--end", END)
    assert spec.commit == project.git("rev-parse", "HEAD")
    assert (spec.start, spec.end, spec.previous, spec.dry_run) == (None, END_UTC, None, False)
    own = YAML(typ="safe", pure=True).load(project.committed_params)
    expected = {
        **own,
        "split": {**own["split"], **own["nightly"]["params"]["split"]},
        "refit": {"hold_out_test": True},
        "register": {**own["register"], "alias": "challenger"},
        "build_interactions": {**own["build_interactions"], "end": END_UTC},
    }
    del expected["list_raw"], params["list_raw"]
    assert params == expected


def test_the_name_is_made_fit_for_files_and_printed(project: Project) -> None:
    answer = project.start("scheduled__2026-11-24T00:00:00+00:00", "--end", END)
    assert answer.output == "scheduled__2026-11-24T00-00-00-00-00\n"
    assert Run.load(project.store, "scheduled__2026-11-24T00-00-00-00-00").spec.end == END_UTC


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        ((), None, None),
        (("--start", "2026-11-01"), "2026-11-01T00:00:00+00:00", None),
        (
            ("--start", "2026-11-01T12:00", "--end", "2026-11-24T02:00:00+02:00"),
            "2026-11-01T12:00:00+00:00",
            END_UTC,
        ),
        (("--end", "2026-11-24T00:00:00Z"), None, END_UTC),
        (("--start=", "--end", END), None, END_UTC),
    ],
)
def test_windows(
    project: Project, window: tuple[str, ...], start: str | None, end: str | None
) -> None:
    spec, params = project.specified("night", *window)
    assert (spec.start, spec.end) == (start, end)
    section = params["build_interactions"]
    assert (section["start"], section["end"]) == (start, end)


def test_window_days_count_back_from_the_end(project: Project) -> None:
    project.change(nightly={"window_days": 30, "params": {}})
    for window, start in (
        (("--end", END), "2026-10-25T00:00:00+00:00"),
        (("--end", END, "--start", "2026-01-01"), "2026-01-01T00:00:00+00:00"),
        ((), None),
    ):
        spec, params = project.specified("night", *window)
        assert spec.start == start
        assert params["build_interactions"]["start"] == start


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--end", "tomorrow"), "end = 'tomorrow': is not a date or time"),
        (("--start", "2026-13-01"), "start = '2026-13-01': is not a date"),
        (("--start", END, "--end", END), "must be before --end"),
        (("--start", "2026-11-24T01:00+00:00", "--end", "2026-11-24T02:00+02:00"), "before --end"),
        (("--models", "ease unheard_of"), "unheard_of not under `models`; known: popularity,"),
        (("--seeds", "0"), "seeds = 0: input should be greater"),
        (("--set", "seed"), "expected KEY=VALUE"),
        (("--set", "=3"), "expected KEY=VALUE"),
        (("--set", "seed=[1"), "'seed=[1': the value is not valid YAML"),
        (("--set", "sede=3"), "sede is not a known section (did you mean 'seed'"),
        (("--set", "train.diffrec.step=3"), "train.diffrec.step is not a known key"),
        (("--set", "train.diffrec.steps=many"), "train.diffrec.steps"),
        (("--set", "list_raw.logs=data/raw/*.csv"), "list_raw.logs = 'data/raw/*.csv'"),
        (("--set", "nightly.window_days=3"), "--start for the window"),
        (("--set", "gate.marginn=1"), "gate.marginn is not a known key (did you mean 'margin'?)"),
        (("--set", "gate.guards.max_latency_ms=fast"), "gate.guards.max_latency_ms = 'fast'"),
        (("--set", "monitor.period=year"), "monitor.period = 'year'"),
        (("--set", "recommend.k=0"), "recommend.k = 0"),
        (("--set", "register.alias=''"), "register.alias = ''"),
        (("--set", "refit.hold_out_test=maybe"), "refit.hold_out_test = 'maybe'"),
        (("--set", "select.metric=fun"), "select.metric = 'fun'"),
        (("--set", "evaluate.cutoffs=[0]"), "evaluate.cutoffs"),
        (("--set", "robustness.seeds=0"), "robustness.seeds = 0"),
        (("--set", "tune.budget=0"), "tune.budget = 0: is neither"),
        (("--set", "split.test_share=2"), "split.test_share = 2"),
        (("--set", "build_interactions.min_value=much"), "build_interactions.min_value = 'much'"),
        (("--set", "ingest.format=xml"), "ingest.format = 'xml'"),
        (("--set", "runtime.device=tpu"), "runtime.device = 'tpu'"),
        (("--set", "gate=3"), "gate must be a mapping of keys, found 3"),
        (("--set", "seed=-1"), "seed = -1"),
        (("--set", "seeds=none"), "seeds = 'none'"),
        (("--set", "models.t_ease.seeds=0"), "models.t_ease.seeds = 0"),
        (("--set", "models.new={code: a.py}"), "train.new is missing"),
    ],
)
def test_what_is_refused(project: Project, arguments: tuple[str, ...], message: str) -> None:
    assert message in project.refused(*arguments)


def test_params_of_the_project_that_are_not_allowed(project: Project) -> None:
    project.change(nightly={"window_days": 0})
    assert "nightly.window_days = 0" in project.refused("--end", END)


def test_set_wins_over_nightly_and_may_hold_lines(project: Project) -> None:
    lines = "split.test_share=0.3\n\n  train.diffrec.steps = 9 \nevaluate.cutoffs=[5, 20]\n"
    spec, params = project.specified(
        "night", "--end", END, "--set", lines, "--set", "build_interactions.end=2026-01-01"
    )
    assert params["split"]["test_share"] == 0.3
    assert params["split"]["method"] == "global_time"
    assert params["train"]["diffrec"]["steps"] == 9
    assert params["evaluate"]["cutoffs"] == [5, 20]
    assert str(params["build_interactions"]["end"]).startswith("2026-01-01")
    assert spec.end == END_UTC


def test_overrides_are_put_over_the_sections_key_by_key(project: Project) -> None:
    project.change(nightly={"params": {"train": {"ease": {"l2": 1.5}}, "tune": {"budget": 2}}})
    _, params = project.specified("night")
    assert params["train"]["ease"] == {"kind": "ease", "l2": 1.5}
    assert params["tune"]["budget"] == 2
    assert len(params["train"]) > 10


@pytest.mark.parametrize(
    "text", ["t_ease popularity", "t_ease,popularity", " t_ease,  popularity "]
)
def test_models_and_seeds(project: Project, text: str) -> None:
    spec, params = project.specified("night", "--models", text, "--seeds", "3", "--dry-run")
    assert list(params["models"]) == ["t_ease", "popularity"]
    assert params["seeds"] == 3
    assert spec.dry_run is True


def test_raw_files_are_absolute_for_stages_in_other_folders(project: Project) -> None:
    logs = ["data/raw/*.csv", "/var/log/shop"]
    project.change(list_raw={"logs": logs, "titles": "t.csv", "known_ids": "data/old"})
    _, params = project.specified("night")
    root = str(project.root)
    assert params["list_raw"] == {
        "logs": [f"{root}/data/raw/*.csv", "/var/log/shop"],
        "titles": f"{root}/t.csv",
        "known_ids": f"{root}/data/old",
    }
    _, params = project.specified("untitled", "--set", "list_raw.titles=null")
    assert params["list_raw"]["titles"] is None


def test_code_that_is_not_committed_is_refused_but_params_may_differ(project: Project) -> None:
    project.change(recommend={"k": 3})
    (project.root / "notes.txt").write_text("not tracked")
    _, params = project.specified("night")
    assert params["recommend"]["k"] == 3
    code = project.root / "pipeline_steps" / "split.py"
    code.write_text(code.read_text() + "# changed\n")
    message = project.refused()
    assert "differ from it: pipeline_steps/split.py. Commit or stash" in message
    project.git("add", "pipeline_steps/split.py")
    assert "pipeline_steps/split.py" in project.refused()
    project.git("reset", "-q")


def test_a_second_call_replaces_the_first(project: Project) -> None:
    project.specified("night", "--end", END, "--models", "t_ease")
    Run.load(project.store, "night").leave_entry("split", {"cmd": "split"})
    spec, params = project.specified("night", "--end", "2026-11-25")
    assert spec.end == "2026-11-25T00:00:00+00:00"
    assert len(params["models"]) > 5
    assert list(Run.load(project.store, "night").entries()) == ["split"]


def test_the_finished_run_before_it_gives_its_ids(project: Project) -> None:
    project.specified("first", "--end", "2026-11-23")
    run = Run.load(project.store, "first")
    spec, params = project.specified("second", "--end", END)
    assert (spec.previous, params["list_raw"]["known_ids"]) == (None, None)  # not finished
    run.leave_entry("register", {"cmd": "register"})
    run.finish()
    spec, params = project.specified("second", "--end", END)
    assert (spec.previous, params["list_raw"]["known_ids"]) == ("first", ".previous")
    spec, params = project.specified("older", "--end", "2026-11-22")
    assert (spec.previous, params["list_raw"]["known_ids"]) == (None, None)
    spec, _ = project.specified("first", "--end", "2026-11-23")
    assert spec.previous is None


def test_without_git_there_are_no_runs(project: Project, tmp_path: Path) -> None:
    (project.root / ".git").rename(tmp_path / "git")
    try:
        assert "is not a git repository: a run's code is a commit" in project.refused()
    finally:
        (tmp_path / "git").rename(project.root / ".git")


def test_as_a_command(project: Project) -> None:
    done = run_step(
        "start-run", "--run", "by hand", cwd=project.root,
        environment={"PYTHONPATH": str(project.root), "DIFFREC_REMOTE": project.store_url},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "by-hand\n"), done.stderr
    assert Run.load(project.store, "by-hand").spec.commit == project.git("rev-parse", "HEAD")
