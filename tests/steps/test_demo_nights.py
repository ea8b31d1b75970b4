"""replay-log: a log played back night by night, nothing lost and nothing twice."""

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from pipeline_steps.sample import replay
from tests.raw_logs import write_lines

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
FIRST = datetime(1998, 1, 1, 0, 30, tzinfo=UTC)
DAYS = 40


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines of a log in no order, some exactly at midnight."""
    draw, times = random.Random(0), [FIRST]
    times += [FIRST + timedelta(hours=draw.random() * 24 * (DAYS - 1)) for _ in range(300)]
    times += [datetime(1998, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(1, DAYS)]
    lines = [f"u{n % 7}\ti{n}\t{n % 5 + 1}\t{int(t.timestamp())}" for n, t in enumerate(times)]
    draw.shuffle(lines)
    write_lines(tmp_path / "log.inter", [HEADER, *lines])
    monkeypatch.chdir(tmp_path)
    return lines


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(
        "sys.argv", ["demo_nights", "--log", "log.inter", "--out", "out", *arguments]
    )
    with pytest.raises(SystemExit) as end:
        replay.command_line(replay.main, replay.add_arguments, "")
    return int(end.value.code or 0)


def files(folder: Path) -> dict[str, list[str]]:
    found = {}
    for path in sorted((folder / "out").glob("*")):
        header, *rows = path.read_text().splitlines()
        assert header == HEADER
        found[path.name] = rows
    return found


@pytest.mark.parametrize(("every", "step"), [("day", 1), ("week", 7)])
def test_nights_part_the_log(
    events: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    every: str,
    step: int,
) -> None:
    assert call(monkeypatch, "--every", every, "--nights", "4") == 0
    ends = [date.fromisoformat(line) for line in capsys.readouterr().out.split()]
    assert ends == [date(1998, 2, 10) - timedelta(days=step * k) for k in (3, 2, 1, 0)]
    for number, end in enumerate(ends, 1):
        assert call(monkeypatch, "--every", every, "--nights", "4", "--until", str(end)) == 0
        found = files(tmp_path)
        assert len(found) == number
        arrived = [row for rows in found.values() for row in rows]
        limit = datetime(end.year, end.month, end.day, tzinfo=UTC).timestamp()
        assert sorted(arrived) == sorted(e for e in events if int(e.split("\t")[3]) < limit)
    assert sorted(arrived) == sorted(events)  # each once, letter by letter


def test_the_same_night_again_touches_nothing_and_an_earlier_one_goes_back(
    events: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = ("--nights", "3", "--until")
    assert call(monkeypatch, *nights, "1998-02-10") == 0
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert list(before) != []
    assert call(monkeypatch, *nights, "1998-02-10") == 0
    assert call(monkeypatch, *nights, "1998-03-01") == 0
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert after == before
    assert call(monkeypatch, *nights, "1998-02-09") == 0  # the last week is not over
    assert sorted(files(tmp_path)) == sorted(before)[:2]
    left = tmp_path / "out" / sorted(before)[0]
    assert left.stat().st_mtime_ns == before[left.name]
    assert call(monkeypatch, *nights, "1998-01-02") == 0
    assert files(tmp_path) == {}


def test_a_file_that_differs_is_written_again(
    events: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(monkeypatch, "--until", "1998-02-10") == 0
    found = files(tmp_path)
    (tmp_path / "out" / next(iter(found))).write_text(f"{HEADER}\nu0\ti0\t1\t0\n")
    assert call(monkeypatch, "--until", "1998-02-10") == 0
    assert files(tmp_path) == found


def test_what_is_refused(events: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, "--nights", "0") == 2
    Path("log.inter").unlink()
    assert call(monkeypatch) == 3
