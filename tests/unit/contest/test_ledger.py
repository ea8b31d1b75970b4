"""The ledger: written once, read whole, and every kind of damage found."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffrec_core.common.errors import ArtifactError, DataError, StorageError
from diffrec_core.contest.ledger import append_night, line_of, parse_nights, read_nights
from diffrec_core.contest.night import Night, Pair, compare, in_order, problem_of, recipe_id
from tests.faults import DISK_BYTES, small_disk
from tests.ledgers import METRIC, day, night_of, simulated

NIGHTS = simulated(3, {"ease": 0.01, "ials": 0.0}, users=5)
TEXT = "".join(map(line_of, NIGHTS))


def test_pairs_by_hand() -> None:
    values = {"b": np.array([0.5, 0.0, 1.0]), "a": np.array([0.5, 1.0, 0.0])}
    assert compare(values) == (Pair("a", "b", 3, 0.0, 2.0),)
    assert compare({"a": np.array([1.0, 0.5]), "b": np.zeros(2)}) == (
        Pair("a", "b", 2, 0.75, 1.25),
    )
    assert compare({"a": np.array([1.0, 0.5]), "b": np.zeros(2)})[0].within == 0.125
    assert compare({"a": np.array([1.0])}) == ()


@pytest.mark.parametrize("other", [[0.1], []])
def test_pairs_need_the_same_users(other: list[float]) -> None:
    with pytest.raises(DataError, match=r"same users.*a: 0, b: "):
        compare({"b": np.array(other), "a": np.array([])})


def test_a_recipe_is_its_kind_settings_seed_and_code() -> None:
    def identify(kind: str = "ease", l2: float = 100.0, seed: int = 0, code: str = "1f") -> str:
        return recipe_id(kind, {"l2": l2, "recency": {"kind": "none"}}, seed=seed, code=code)

    ids = [identify(), identify("slim"), identify(l2=200.0), identify(seed=1), identify(code="2")]
    assert len(set(ids)) == 5
    reordered = recipe_id("ease", {"recency": {"kind": "none"}, "l2": 100.0}, seed=0, code="1f")
    assert reordered == identify()


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "contest" / "nights.jsonl"
    rich = replace(
        NIGHTS[2],
        flags=("rows",),
        counts=False,
        contestants=tuple(
            replace(one, trained_until=datetime(2026, 1, 2, 3, tzinfo=UTC), checks={"overlap": 0.9})
            for one in NIGHTS[2].contestants
        ),
    )
    empty = Night(day(9), rich.data_end, METRIC, "champion", 0, left_out="rows: 3 of 900 expected")
    for night in (*NIGHTS[:2], rich, empty):
        assert append_night(path, night)
    assert read_nights(path) == (*NIGHTS[:2], rich, empty)
    assert path.read_text() == "".join(map(line_of, (*NIGHTS[:2], rich, empty)))


def test_a_line_is_canonical_json() -> None:
    line = line_of(NIGHTS[0])
    assert line.count("\n") == 1
    content = json.loads(line)
    assert content["schema"] == "night/1"
    again = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert again + "\n" == line


def test_a_night_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "nights.jsonl"
    append_night(path, NIGHTS[0])
    before = path.stat().st_mtime_ns, path.read_bytes()
    assert not append_night(path, NIGHTS[0])
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    late = night_of(0, {"champion": [0.1, 0.2], "ease": [0.3, 0.2]})
    with pytest.raises(ArtifactError, match=r"nights\.jsonl: night 2026-01-01 .*other content"):
        append_night(path, late)
    assert path.read_bytes() == before[1]


def test_a_night_that_contradicts_itself_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"night 2026-01-01: champion = 'nobody' is not among"):
        append_night(tmp_path / "nights.jsonl", replace(NIGHTS[0], champion="nobody"))
    assert not list(tmp_path.iterdir())


def test_on_a_full_disk_the_ledger_stays_as_it_was(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "nights.jsonl"
        append_night(path, NIGHTS[0])
        before = path.read_bytes()
        long = replace(NIGHTS[1], flags=("x" * 2 * DISK_BYTES,))
        with pytest.raises(StorageError, match=r"cannot write .*nights.jsonl"):
            append_night(path, long)
        assert path.read_bytes() == before
        assert [file.name for file in disk.iterdir()] == [path.name]


def test_order_and_repetition_of_lines_change_nothing() -> None:
    lines = TEXT.splitlines(keepends=True)
    assert parse_nights("".join([*reversed(lines), lines[1]]), "file") == tuple(NIGHTS)
    assert parse_nights("", "file") == ()


def test_a_missing_ledger_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nights\.jsonl is missing"):
        read_nights(tmp_path / "nights.jsonl")


def changed(line: str, **changes: Any) -> str:
    """A line with other content, and the check that it had."""
    content = json.loads(line) | changes
    return json.dumps({key: value for key, value in content.items() if value is not ...}) + "\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "night/2"}, r"line 2: schema = 'night/2', but this version reads 'night/1'"),
        ({"schema": ...}, r"line 2: schema = None"),
        ({"users": "many"}, r"line 2: users = 'many': input should be a valid integer"),
        ({"users": 5.5}, r"line 2: users = 5.5: "),
        ({"night": "2026-02-30"}, r"line 2: night = '2026-02-30': .*date"),
        ({"metric": ...}, r"line 2: metric: field required"),
        ({"colour": "red"}, r"line 2: colour = 'red': .*unexpected"),
        ({"pairs": [{"one": "champion"}]}, r"line 2: pairs.0.other: field required"),
        ({"contestants": 3}, r"line 2: contestants = 3: .*array"),
        ({"users": 6}, r"line 2: pairs.0.users = 5, but the night has 6"),
        ({"users": -5}, r"line 2: users = -5: at least 1"),
        ({"champion": "x"}, r"line 2: champion = 'x' is not among the contestants"),
        ({"pairs": []}, r"line 2: pairs are not those of all contestants"),
        ({"metric": "recall@20"}, r"line 2: contestants.0.metrics lacks recall@20"),
        ({"data_end": "2026-01-03T00:00:00"}, r"line 2: data_end = .* has no time zone"),
        ({"counts": False}, r"line 2: check = '\w+', but the content's is '\w+'"),
        ({"check": ...}, r"line 2: check = None, but"),
    ],
)
def test_damage_names_the_line_and_the_field(changes: dict[str, Any], message: str) -> None:
    lines = TEXT.splitlines(keepends=True)
    with pytest.raises(ArtifactError, match=message):
        parse_nights(lines[0] + changed(lines[1], **changes) + lines[2], "file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT[:-40], "file: line 3 has no end"),
        (TEXT[:-1], "file: line 3 has no end"),
        (TEXT.replace("\n", "\n\n", 1), "file: line 2 is not JSON"),
        (TEXT + "[1]\n", "file: line 4 is not a JSON object"),
        (TEXT + "[" * 100_000 + "\n", "file: line 4 is not JSON"),
        (TEXT.replace("0.", "NaN,", 1), "file: line 1 is not JSON"),
    ],
)
def test_damage_to_the_text(text: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        parse_nights(text, "file")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "nights.jsonl"
    path.write_bytes(TEXT.encode()[:-30] + b"\xff" + TEXT.encode()[-30:])
    with pytest.raises(ArtifactError, match="line 3 is not UTF-8"):
        read_nights(path)


def test_a_night_with_two_contents_is_refused() -> None:
    other = line_of(night_of(1, {"champion": [0.1, 0.2]}))
    with pytest.raises(ArtifactError, match="night 2026-01-02 is there twice, with different"):
        parse_nights(TEXT + other, "file")
    with pytest.raises(DataError, match="night 2026-01-02 is there twice"):
        in_order([*NIGHTS, night_of(1, {"champion": [0.1, 0.2]})])


def test_a_changed_byte_is_found_or_changes_nothing() -> None:
    """Each byte of a line in turn becomes another one; a last digit may not change the number."""
    line, harmless = TEXT.splitlines(keepends=True)[0], 0
    for place, was in enumerate(line[:-1]):
        other = "7" if was != "7" else "8"
        try:
            read = parse_nights(line[:place] + other + line[place + 1 :], "file")
        except ArtifactError:
            continue
        assert read == (NIGHTS[0],)
        harmless += 1
    assert harmless < 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"difference": 0.3}, r"pairs.0.difference = 0.3, but means differ by"),
        ({"squares": 0.0}, r"pairs.0.squares = 0.0 is less than its mean difference allows"),
    ],
)
def test_pairs_that_cannot_be(changes: dict[str, float], message: str) -> None:
    night = night_of(0, {"champion": [0.1, 0.2], "ease": [0.4, 0.2]})
    wrong = replace(night, pairs=(replace(night.pairs[0], **changes),))
    assert problem_of(night) is None
    found = problem_of(wrong)
    assert found is not None
    assert found.startswith(message.replace("\\", ""))
