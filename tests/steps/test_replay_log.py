"""A log replayed night by night: nothing lost, nothing twice."""

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from diffrec_core.common.errors import ConfigError, DataError
from pipeline_steps.sample.replay_log import PERIODS, night_ends, read_log, write_nights
from tests.raw_logs import write_lines

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
FIRST = datetime(1998, 1, 1, 0, 30, tzinfo=UTC)
DAYS = 40


@pytest.fixture
def lines() -> list[str]:
    """Lines of a log in no order, some exactly at midnight."""
    draw, times = random.Random(0), [FIRST]
    times += [FIRST + timedelta(hours=draw.random() * 24 * (DAYS - 1)) for _ in range(300)]
    times += [datetime(1998, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(1, DAYS)]
    lines = [f"u{n % 7}\ti{n}\t{n % 5 + 1}\t{int(t.timestamp())}" for n, t in enumerate(times)]
    draw.shuffle(lines)
    return lines


@pytest.fixture
def log(lines: list[str], tmp_path: Path) -> pl.DataFrame:
    return read_log(write_lines(tmp_path / "log.inter", [HEADER, *lines]))


def files(folder: Path) -> dict[str, list[str]]:
    contents = {path.name: path.read_text().splitlines() for path in sorted(folder.glob("*"))}
    assert all(header == HEADER for header, *_ in contents.values())
    return {name: rows for name, (_, *rows) in contents.items()}


@pytest.mark.parametrize("period", PERIODS.values(), ids=PERIODS)
def test_nights_partition_the_log(
    lines: list[str], log: pl.DataFrame, tmp_path: Path, period: timedelta
) -> None:
    ends = night_ends(log, 4, period)
    assert ends == [date(1998, 2, 10) - period * k for k in (3, 2, 1, 0)]
    for night, end in enumerate(ends, 1):
        write_nights(log, ends[:night], tmp_path / "nights")
        written = files(tmp_path / "nights")
        names = ["1970-01-01", *map(str, ends)][:night]
        assert list(written) == [f"{name}.inter" for name in names]
        arrived = [row for rows in written.values() for row in rows]
        limit = datetime(end.year, end.month, end.day, tzinfo=UTC).timestamp()
        assert sorted(arrived) == sorted(e for e in lines if int(e.split("\t")[3]) < limit)
    assert sorted(arrived) == sorted(lines)  # each once, byte for byte


def test_the_same_night_again_touches_nothing_and_an_earlier_one_removes_later_files(
    log: pl.DataFrame, tmp_path: Path
) -> None:
    folder, ends = tmp_path / "nights", night_ends(log, 3, PERIODS["week"])
    write_nights(log, ends, folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    write_nights(log, ends, folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    write_nights(log, ends[:2], folder)
    assert sorted(files(folder)) == sorted(before)[:2]
    assert all(path.stat().st_mtime_ns == before[path.name] for path in folder.iterdir())


def test_a_file_that_differs_is_written_again(log: pl.DataFrame, tmp_path: Path) -> None:
    ends = night_ends(log, 3, PERIODS["week"])
    write_nights(log, ends, tmp_path / "nights")
    expected = files(tmp_path / "nights")
    (tmp_path / "nights" / next(iter(expected))).write_text(f"{HEADER}\nu0\ti0\t1\t0\n")
    write_nights(log, ends, tmp_path / "nights")
    assert files(tmp_path / "nights") == expected


def test_a_missing_log_and_a_number_of_nights_below_one_are_refused(
    log: pl.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"nowhere is missing: `make sample` fetches it"):
        read_log(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="nights = 0: must be at least 1"):
        night_ends(log, 0, PERIODS["day"])
