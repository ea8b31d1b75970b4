"""Promotions on a real registry and a real store: races, kills, rollbacks, aliases by hand."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from diffrec_core.common.errors import ArtifactError
from pipeline_steps.champion import history, promote, rollback
from pipeline_steps.champion.promotion_log import Promotions
from pipeline_steps.champion.promotion_store import ChampionMovedError
from pipeline_steps.nights.settings import settings
from pipeline_steps.registry import versions
from tests.raw_logs import REPOSITORY
from tests.steps.registries import MODEL, add_version, aliases, call, place

NUMBERS = {"metric": "recall@20", "candidate": 0.25, "difference": 0.02, "lower_bound": 0.01}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions: 1 is champion, 2 challenger; the log is empty."""
    folder = tmp_path_factory.mktemp("three versions")
    with pytest.MonkeyPatch.context() as patch, place(folder, patch) as client:
        for _ in range(3):
            add_version(client)
        client.set_registered_model_alias(MODEL, "champion", "1")
        client.set_registered_model_alias(MODEL, "challenger", "2")
    return folder / "mlflow.db"


@pytest.fixture
def promotions(client: MlflowClient, tmp_path: Path) -> Promotions:
    return Promotions(settings(tmp_path).store, MODEL)


def gate_file(folder: Path, candidate: str = "2", **changes: Any) -> Path:
    content = {
        "schema": "gate/1",
        "decision": "promote",
        "reason": "better",
        "model": MODEL,
        "candidate": {"version": candidate},
        "champion": {"version": "1"},
        "based_on": 0,
        "numbers": NUMBERS,
    }
    path = folder / f"gate-{candidate}.json"
    path.write_text(json.dumps(content | changes))
    return path


def test_a_promotion_moves_all_three_aliases_and_is_written_down(
    client: MlflowClient, promotions: Promotions, tmp_path: Path
) -> None:
    result = call(promote, "--gate", gate_file(tmp_path))
    assert result.returncode == 0, result.stderr
    assert aliases(client) == {"champion": "2", "previous": "1"}
    (record,) = promotions.records()
    assert (record.sequence, record.version, record.previous) == (1, "2", "1")
    assert (record.action, record.reason, record.numbers) == ("promote", "better", NUMBERS)
    assert "@" in record.by
    assert client.get_model_version(MODEL, "2").tags["promotion"] == "1"
    again = call(promote, "--gate", gate_file(tmp_path))
    assert again.returncode == 0, again.stderr
    assert "was promoted by this decision" in again.stderr
    assert len(promotions.records()) == 1


def test_a_decision_to_keep_ends_with_99_and_changes_nothing(
    client: MlflowClient, promotions: Promotions, tmp_path: Path
) -> None:
    gate = gate_file(tmp_path, decision="keep", reason="not better")
    result = call(promote, "--gate", gate)
    assert result.returncode == 99
    assert "not promoted: not better" in result.stderr
    assert aliases(client) == {"champion": "1", "challenger": "2"}
    assert promotions.records() == []


@pytest.mark.parametrize("stale", [{"champion": None}, {"champion": {"version": "3"}}])
def test_a_decision_about_another_champion_is_refused(
    client: MlflowClient, tmp_path: Path, stale: dict[str, Any]
) -> None:
    result = call(promote, "--gate", gate_file(tmp_path, **stale))
    assert result.returncode == 2
    assert "the champion has moved since the gate compared" in result.stderr
    assert aliases(client)["champion"] == "1"


# `promote`, which waits right before it creates its record until another one is there as well
RACER = """
import pathlib, sys, time
from pipeline_steps.nights import store
from pipeline_steps.champion import promote
from pipeline_steps.runtime.command import execute
create = store.Store.create

def together(self, name, content):
    pathlib.Path(sys.argv[-1] + ".ready").touch()
    while len(list(pathlib.Path().glob("*.ready"))) < 2:
        time.sleep(0.001)
    create(self, name, content)

store.Store.create = together
execute(promote.run)
"""


def test_of_two_processes_that_promote_at_once_one_wins(
    client: MlflowClient, promotions: Promotions, tmp_path: Path
) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, "--gate", gate.name],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for gate in (gate_file(tmp_path, "2"), gate_file(tmp_path, "3"))
    ]
    said = [racer.communicate(timeout=600)[1] for racer in racers]
    codes = [racer.returncode for racer in racers]
    assert sorted(codes) == [0, 2], said
    assert "was first: number 1 of the promotions" in said[codes.index(2)]
    winner = ["2", "3"][codes.index(0)]
    assert [record.version for record in promotions.records()] == [winner]
    assert aliases(client)["champion"] == winner
    assert aliases(client)["previous"] == "1"


def test_the_second_of_two_that_are_based_on_the_same_record_fails(
    client: MlflowClient, promotions: Promotions
) -> None:
    promotions.add(based_on=0, version="2", action="promote", reason="first")
    with pytest.raises(ChampionMovedError, match="number 1 of the promotions made version 2"):
        promotions.add(based_on=0, version="3", action="promote", reason="second")
    assert aliases(client) == {"champion": "2", "previous": "1"}


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


def _kill_after(moves: int, patch: pytest.MonkeyPatch) -> None:
    """Die when so many aliases have been moved."""
    move, left = versions.move_alias, [None] * moves

    def killed(name: str, alias: str, number: str = "") -> None:
        if not left:
            raise Killed
        left.pop()
        move(name, alias, number)

    patch.setattr(versions, "move_alias", killed)
    patch.setattr(versions, "remove_alias", killed)


def _killed(*_: Any) -> None:
    raise Killed


@pytest.mark.parametrize(
    ("moved", "command"), [(0, "history"), (0, "promote"), (1, "promote"), (2, "history")]
)
def test_a_promotion_killed_before_its_aliases_is_completed_by_the_next_command(
    client: MlflowClient, promotions: Promotions, tmp_path: Path, moved: int, command: str
) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        _kill_after(moved, patch)
        promotions.add(based_on=0, version="2", action="promote", reason="better")
    assert len(promotions.records()) == 1
    arguments = ["--gate", gate_file(tmp_path)] if command == "promote" else []
    result = call({"promote": promote, "history": history}[command], *arguments)
    assert result.returncode == 0, result.stderr
    assert "was interrupted" in result.stderr
    assert aliases(client) == {"champion": "2", "previous": "1"}
    assert len(promotions.records()) == 1


@pytest.mark.parametrize("moved", [0, 1, 2])
@pytest.mark.parametrize("arguments", [(), ("--to", "1")])
def test_a_rollback_that_was_killed_is_completed_by_the_same_command_and_not_undone(
    client: MlflowClient, promotions: Promotions, moved: int, arguments: tuple[str, ...]
) -> None:
    promotions.add(based_on=0, version="2", action="promote", reason="better")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        _kill_after(moved, patch)
        patch.setattr(versions, "tag_version", _killed)
        promotions.add(based_on=1, version="1", action="rollback", reason="clicks fell")
    result = call(rollback, *arguments)
    assert result.returncode == 0, result.stderr
    assert "was interrupted" in result.stderr
    assert aliases(client) == {"champion": "1", "previous": "2"}
    assert [record.action for record in promotions.records()] == ["promote", "rollback"]
    assert call(rollback).returncode == 0  # one that is meant as another is another
    assert aliases(client) == {"champion": "2", "previous": "1"}


def test_a_rollback_after_a_promotion_that_was_killed_is_done(
    client: MlflowClient, promotions: Promotions
) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        _kill_after(0, patch)
        promotions.add(based_on=0, version="2", action="promote", reason="better")
    assert call(rollback).returncode == 0
    assert aliases(client) == {"champion": "1", "previous": "2"}


def test_a_slow_process_does_not_undo_what_came_after_it(
    client: MlflowClient, promotions: Promotions, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, once = versions.move_alias, [True]

    def overtaken(name: str, alias: str, number: str) -> None:
        if once:
            once.pop()  # before the first process moves anything, another one promotes version 3
            promotions.settle()
            promotions.add(based_on=1, version="3", action="promote", reason="second")
        move(name, alias, number)

    monkeypatch.setattr(versions, "move_alias", overtaken)
    promotions.add(based_on=0, version="2", action="promote", reason="first")
    assert aliases(client) == {"champion": "3", "previous": "2"}
    assert [record.version for record in promotions.records()] == ["2", "3"]


def _killed_after_its_alias_while_another_rolled_back(promotions: Promotions) -> None:
    """A slow promotion of version 2: version 1 is champion again when it moves its alias."""
    move, once = versions.move_alias, [True]

    def overtaken(name: str, alias: str, number: str) -> None:
        if once:
            once.pop()
            promotions.add(
                based_on=promotions.settle(), version="1", action="rollback", reason="clicks fell"
            )
            move(name, alias, number)
            raise Killed
        move(name, alias, number)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(versions, "move_alias", overtaken)
        promotions.add(based_on=0, version="2", action="promote", reason="better")


@pytest.mark.parametrize("command", [history, rollback])
def test_a_promoter_that_is_killed_undoes_no_rollback(
    client: MlflowClient, promotions: Promotions, command: Any
) -> None:
    _killed_after_its_alias_while_another_rolled_back(promotions)
    assert aliases(client)["champion"] == "2"
    result = call(command)
    assert result.returncode == 0, result.stderr
    assert "promotion 2 was interrupted" in result.stderr
    assert aliases(client) == {"champion": "1", "previous": "2"}
    assert [record.action for record in promotions.records()] == ["promote", "rollback"]


def test_a_log_of_an_earlier_version_that_lacks_a_mark(
    client: MlflowClient, promotions: Promotions, tmp_path: Path
) -> None:
    promotions.add(based_on=0, version="2", action="promote", reason="better")
    promotions.add(based_on=1, version="1", action="rollback", reason="clicks fell")
    settings(tmp_path).store.remove(f"promotions/{MODEL}/applied/000001")
    client.set_registered_model_alias(MODEL, "champion", "2")
    assert promotions.settle() == 2
    assert aliases(client) == {"champion": "1", "previous": "2"}
    client.set_registered_model_alias(MODEL, "champion", "2")  # by a person, now
    assert promotions.settle() == 3
    assert aliases(client) == {"champion": "2", "previous": "1"}


def test_a_person_is_not_taken_for_a_process_that_was_killed_long_ago(
    client: MlflowClient, promotions: Promotions, tmp_path: Path
) -> None:
    _killed_after_its_alias_while_another_rolled_back(promotions)
    promotions.settle()
    store = settings(tmp_path).store
    (announced,) = store.names(f"promotions/{MODEL}/applying")
    store.write(announced, b"2020-01-01T00:00:00+00:00")
    client.set_registered_model_alias(MODEL, "champion", "2")
    promotions.settle()  # that it was the killed process is likely still
    assert aliases(client)["champion"] == "1"
    assert store.names(f"promotions/{MODEL}/applying") == []
    client.set_registered_model_alias(MODEL, "champion", "2")
    promotions.settle()
    assert aliases(client) == {"champion": "2", "previous": "1"}
    assert [record.action for record in promotions.records()] == ["promote", "rollback", "found"]


def test_a_person_who_undoes_an_own_move_that_was_not_settled_whole(
    client: MlflowClient, promotions: Promotions
) -> None:
    promotions.add(based_on=0, version="2", action="promote", reason="better")
    client.set_registered_model_alias(MODEL, "champion", "3")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        _kill_after(0, patch)
        promotions.settle()
    client.set_registered_model_alias(MODEL, "champion", "2")
    promotions.settle()
    assert aliases(client) == {"champion": "2", "previous": "3"}


def test_nothing_is_announced_once_all_is_done(promotions: Promotions, tmp_path: Path) -> None:
    promotions.add(based_on=0, version="2", action="promote", reason="better")
    promotions.settle()
    names = settings(tmp_path).store.names(f"promotions/{MODEL}")
    assert [name.partition(f"{MODEL}/")[2] for name in names] == ["000001.json", "applied/000001"]


def test_rollback_returns_and_a_second_one_undoes_it(
    client: MlflowClient, promotions: Promotions, tmp_path: Path
) -> None:
    promotions.add(based_on=0, version="2", action="promote", reason="better")
    result = call(rollback, "--reason", "clicks fell")
    assert result.returncode == 0, result.stderr
    assert "rolled back from version 2 to version 1" in result.stderr
    assert aliases(client) == {"champion": "1", "previous": "2"}
    assert call(rollback).returncode == 0
    assert aliases(client) == {"champion": "2", "previous": "1"}
    assert [(r.action, r.reason) for r in promotions.records()][1:] == [
        ("rollback", "clicks fell"),
        ("rollback", "no reason given"),
    ]
    assert call(rollback, "--to", "3").returncode == 0
    assert aliases(client) == {"champion": "3", "previous": "2"}


def test_rollback_without_a_previous_version_or_to_none_that_is(
    client: MlflowClient, tmp_path: Path
) -> None:
    result = call(rollback)
    assert result.returncode == 2
    assert "no alias previous" in result.stderr
    result = call(rollback, "--to", "9")
    assert result.returncode == 4
    assert "no version '9'; there are: 1, 2, 3" in result.stderr
    assert aliases(client) == {"champion": "1", "challenger": "2"}


def test_an_alias_moved_by_hand_is_said_and_taken_down(
    client: MlflowClient, promotions: Promotions, tmp_path: Path
) -> None:
    promotions.add(based_on=0, version="2", action="promote", reason="better")
    client.set_registered_model_alias(MODEL, "champion", "3")
    result = call(history, "--json")
    assert result.returncode == 0, result.stderr
    assert "moved outside of promotions: it points to version 3" in result.stderr
    found = json.loads(result.stdout)
    assert [record["action"] for record in found["records"]] == ["promote", "found"]
    assert (found["records"][1]["version"], found["records"][1]["previous"]) == ("3", "2")
    assert found["aliases"] == {"champion": "3", "previous": "2"}
    # what was decided against version 1 is not carried out against version 3
    result = call(promote, "--gate", gate_file(tmp_path))
    assert result.returncode == 2
    assert "champion has moved" in result.stderr


def test_moved_back_by_hand_to_the_version_before(
    client: MlflowClient, promotions: Promotions
) -> None:
    promotions.add(based_on=0, version="2", action="promote", reason="better")
    client.set_registered_model_alias(MODEL, "champion", "1")
    assert promotions.settle() == 2
    assert aliases(client)["champion"] == "1"
    client.delete_registered_model_alias(MODEL, "champion")
    assert promotions.settle() == 3
    newest = promotions.newest()
    assert newest is not None
    assert (newest.version, newest.previous) == (None, "1")
    assert promotions.settle() == 3


def test_by_hand_the_gate_is_bypassed_knowingly_only(client: MlflowClient, tmp_path: Path) -> None:
    def by_hand(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return call(promote, *arguments)

    assert "needs --reason" in by_hand("2").stderr
    refused = by_hand("2", "--reason", "holiday")
    assert refused.returncode == 2
    assert "the gate has not compared it" in refused.stderr
    client.set_model_version_tag(MODEL, "2", "gate_decision", "keep")
    client.set_model_version_tag(MODEL, "2", "gate_reason", "too slow")
    assert "decided to keep: too slow" in by_hand("2", "--reason", "holiday").stderr
    forced = by_hand("2", "--reason", "holiday", "--force")
    assert forced.returncode == 0, forced.stderr
    assert "bypasses the gate" in forced.stderr
    client.set_model_version_tag(MODEL, "3", "gate_decision", "promote")
    assert by_hand("3", "--reason", "as the gate says").returncode == 0
    assert aliases(client) == {"champion": "3", "previous": "2"}


@pytest.mark.parametrize("arguments", [[], ["2", "--gate", "gate.json"]])
def test_promote_needs_one_of_its_two_forms(client: Any, tmp_path: Path, arguments: Any) -> None:
    result = call(promote, *arguments)
    assert result.returncode == 2
    assert "either a version or --gate" in result.stderr


def test_history_is_a_table(promotions: Promotions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    empty = call(history)
    assert "log of diffrec is empty" in empty.stdout
    promotions.add(based_on=0, version="2", action="promote", reason="is [bold]", numbers=NUMBERS)
    shown = call(history).stdout
    assert "is [bold]" in shown
    assert "recall@20 0.2500" in shown
    assert "champion version 2, previous version 1" in shown


def test_a_record_that_is_none(promotions: Promotions, tmp_path: Path) -> None:
    settings(tmp_path).store.write(f"promotions/{MODEL}/000001.json", b"{}")
    with pytest.raises(ArtifactError, match=r"000001.json in the store is not a record"):
        promotions.newest()


def test_machines_that_register_one_model_at_once_agree_on_the_first(client: MlflowClient) -> None:
    same = {"model_fingerprint": "of one model"}
    first, second = add_version(client, **same), add_version(client, **same)
    kept = {versions.keep_first(MODEL, "of one model", n).number for n in (second, first)}
    assert kept == {first}
    left = [v.version for v in client.search_model_versions(f"name = '{MODEL}'")]
    assert sorted(map(str, left)) == ["1", "2", "3", first]
