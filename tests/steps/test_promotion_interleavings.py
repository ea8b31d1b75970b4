"""The log of promotions under interleavings of two commands, with kills after every write.

The log and its rules are the real ones; the store and the registry are dictionaries, and each call
to them is a step at which a command can be stopped for another, or killed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, pairwise
from threading import Lock, Thread
from types import SimpleNamespace
from typing import Any

import pytest

from diffrec_core.common.errors import ArtifactError, DiffRecError
from pipeline_steps.champion import promotion_log
from pipeline_steps.champion.promotion_log import Promotions
from pipeline_steps.nights.store import ExistsError

MODEL = "diffrec"
READ, WRITE = False, True
Step = Callable[[bool], None]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it, and a killed command makes no more steps."""


def undisturbed(_: bool) -> None:
    """A step of a command that nobody stops."""


@dataclass
class World:
    """What all commands share: the files of the store, and the aliases of the registry."""

    files: dict[str, bytes] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def promotions(self, step: Step = undisturbed) -> Promotions:
        return Promotions(Files(self, step), MODEL)  # type: ignore[arg-type]


class Files:
    """The store as the log uses it."""

    def __init__(self, world: World, step: Step) -> None:
        self._files, self._step = world.files, step

    def names(self, prefix: str) -> list[str]:
        self._step(READ)
        return sorted(name for name in self._files if name.startswith(f"{prefix}/"))

    def read(self, name: str) -> bytes:
        self._step(READ)
        if name not in self._files:
            raise ArtifactError(name)
        return self._files[name]

    def read_if_there(self, name: str) -> bytes | None:
        self._step(READ)
        return self._files.get(name)

    def write(self, name: str, content: bytes) -> None:
        self._step(WRITE)
        self._files[name] = content

    def create(self, name: str, content: bytes) -> None:
        self._step(WRITE)
        if self._files.setdefault(name, content) is not content:
            raise ExistsError(name)

    def remove(self, name: str) -> None:
        self._step(WRITE)
        self._files.pop(name, None)


class Registry:
    """`registry.versions` as the log uses it, in the steps of the command whose turn it is."""

    CHAMPION, CHALLENGER, PREVIOUS, PROMOTION = "champion", "challenger", "previous", "promotion"

    def __init__(self) -> None:
        self.world = World()
        self.step: Step = undisturbed

    def get_version(self, name: str, number: str) -> Any:
        return SimpleNamespace(name=name, number=number)

    def tag_version(self, version: Any, tags: Any) -> None:
        pass

    def aliases(self, name: str) -> dict[str, str]:
        self.step(READ)
        return dict(self.world.aliases)

    def move_alias(self, name: str, alias: str, number: str) -> None:
        self.step(WRITE)
        self.world.aliases[alias] = number

    def remove_alias(self, name: str, alias: str) -> None:
        self.step(WRITE)
        self.world.aliases.pop(alias, None)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    fake = Registry()
    monkeypatch.setattr(promotion_log, "versions", fake)
    monkeypatch.setattr(promotion_log.log, "warning", lambda *_: None)
    return fake


def promote(log: Promotions, version: str) -> None:
    """As the command `promote` does with a version."""
    log.add(based_on=log.settle(), version=version, action="promote", reason="better")


def roll_back(log: Promotions, registry: Registry) -> None:
    """As the command `rollback` does."""
    interrupted = log.interrupted()
    newest = log.settle()
    if interrupted and interrupted.action == "rollback":
        return
    aliases = registry.aliases(MODEL)
    if aliases.get("previous") not in (None, aliases.get("champion")):
        log.add(based_on=newest, version=aliases["previous"], action="rollback", reason="bad")


class Command:
    """A command that makes one step at a time, when it is told to."""

    def __init__(self, registry: Registry, act: Callable[[Promotions], object]) -> None:
        self._registry, self._act = registry, act
        self._go, self._stopped = Lock(), Lock()  # each held until the other side releases it
        self._go.acquire()
        self._stopped.acquire()
        self.ended, self.wrote, self._killed = False, False, False
        self._next = READ
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()
        self._stopped.acquire()

    def step(self) -> None:
        """Make one step, and stop before the next."""
        if not self.ended:
            self.wrote = self._next
            self._registry.step = self._wait
            self._go.release()
            self._stopped.acquire()

    def write(self) -> None:
        """Make steps up to and with the next one that changes something."""
        self.step()
        while not (self.ended or self.wrote):
            self.step()

    def finish(self) -> None:
        while not self.ended:
            self.step()
        self._thread.join()

    def kill(self) -> None:
        self._killed = True
        self.finish()

    def _run(self) -> None:
        try:
            self._act(self._registry.world.promotions(self._wait))
        except (DiffRecError, Killed):
            pass  # refused, or killed
        finally:
            self.ended = True
            self._stopped.release()

    def _wait(self, write: bool) -> None:
        self._next = write
        self._stopped.release()
        self._go.acquire()
        if self._killed:
            raise Killed


Act = Callable[[Promotions, Registry], object]
ACTS: dict[str, Act] = {
    "promote": lambda log, _: promote(log, "2"),
    "promote another": lambda log, _: promote(log, "3"),
    "rollback": roll_back,
    "history": lambda log, _: log.settle(),
}


def begin(registry: Registry) -> None:
    """A world in which version 1 was promoted over version 0, and nothing is under way."""
    registry.world, registry.step = World(aliases={"champion": "0"}), undisturbed
    promote(registry.world.promotions(), "1")


def check(registry: Registry, schedule: object) -> None:
    """After the next command, aliases and log agree, and nobody was taken for a person."""
    registry.step = undisturbed
    log = registry.world.promotions()
    log.settle()
    records = log.records()
    aliases = {alias: registry.world.aliases.get(alias) for alias in ("champion", "previous")}
    assert aliases == {"champion": records[-1].version, "previous": records[-1].previous}, schedule
    assert {record.action for record in records} <= {"promote", "rollback"}, schedule
    for before, after in pairwise(records):
        assert after.previous == before.version, schedule
    assert log.interrupted() is None, schedule


def play(
    registry: Registry, acts: tuple[str, str], turns: tuple[int, int, int], *, both: bool
) -> tuple[bool, bool, bool, bool]:
    """Two commands by turns: the first makes steps, then the second, then the first some writes.

    Then the first is killed. The second is killed too, or ends.

    Returns:
        Of each turn, whether the command had ended before the turn was over; and whether the last
        step of the second turn was a write.
    """
    begin(registry)
    one, two = (Command(registry, lambda log, act=act: ACTS[act](log, registry)) for act in acts)
    for _ in range(turns[0]):
        one.step()
    first = one.ended
    for _ in range(turns[1]):
        two.step()
    second, wrote = two.ended, two.wrote
    for _ in range(turns[2]):
        one.write()
    third = one.ended
    one.kill()
    if both:
        two.kill()
    else:
        two.finish()
    check(registry, (turns, both))
    return first, second, third, wrote


@pytest.mark.parametrize(
    "acts",
    [
        ("promote", "rollback"),
        ("rollback", "promote"),
        ("promote", "promote another"),
        ("promote", "history"),
    ],
)
def test_of_two_commands_one_or_both_are_killed(registry: Registry, acts: tuple[str, str]) -> None:
    """A kill after a read is like one after the write before it."""
    for before in count():
        for between in count():
            for more in count():
                turns = (before, between, more)
                first, second, third, wrote = play(registry, acts, turns, both=False)
                if wrote:
                    play(registry, acts, turns, both=True)
                if third:
                    break
            if second:
                break
        if first:
            break
