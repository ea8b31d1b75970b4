from datetime import datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.ingestion.parquet import ParquetReader
from diffrec_core.ingestion.raw_rows import EMPTY_LIST, RawBatch, Source
from tests.raw_logs import listed

COLUMNS = {"user_id": "u", "item_id": "i"}


def write(folder: Path, text: str) -> Path:
    path = folder / "log.csv"
    path.write_bytes(text.encode())
    return path


def rows(batches: Any) -> list[tuple[Any, ...]]:
    return [row for batch in batches for row in batch.rows.iter_rows()]


def raw(batch: RawBatch, mask: list[bool]) -> list[str]:
    return batch.raw_text(pl.Series(mask)).to_list()


def read(frame: pl.DataFrame, folder: Path, **changes: Any) -> Any:
    path = folder / "log[1].parquet"
    frame.write_parquet(path)
    columns = {name: name for name in ("user_id", "item_id", "timestamp") if name in frame}
    return open_(path, columns, **changes)


def open_(path: Path, columns: dict[str, str], **changes: Any) -> Any:
    return ParquetReader(listed(path), columns, Source(str(path), "ingest"), **changes).batches()


def read_arrow(folder: Path, columns: dict[str, str], **arrays: pa.Array) -> list[Any]:
    path = folder / "log.parquet"
    pq.write_table(pa.table(arrays), path)
    return [row[1:] for row in rows(open_(path, columns))]


def test_ids_become_texts_and_whole_floats_whole_numbers(tmp_path):
    frame = pl.DataFrame(
        {
            "user_id": pl.Series([1.0, 2.5, None]),
            "item_id": pl.Series(["a", "b", "a"], dtype=pl.Categorical()),
            "other": [[1], [2], [3]],
        }
    )
    (batch,) = read(frame, tmp_path)
    assert batch.rows.rows() == [
        (1, None, "1", "a"),
        (2, None, "2.5", "b"),
        (3, None, None, "a"),
    ]
    assert raw(batch, [False, True, True]) == [
        '{"item_id": "b", "user_id": 2.5}',
        '{"item_id": "a", "user_id": null}',
    ]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([2**63, 1], ["9223372036854775808", "1"]),
        ([True, False], ["true", "false"]),
        ([Decimal("1.50"), Decimal("2")], ["1.50", "2.00"]),
        ([b"abc", None], ["abc", None]),
        (pl.Series([4.1, 4711.0], dtype=pl.Float32), ["4.1", "4711"]),
        ([1e300, float("nan"), -0.0], ["1e+300", "NaN", "0"]),
    ],
)
def test_values_of_any_single_type_become_texts(tmp_path, values, texts):
    frame = pl.DataFrame({"user_id": values})
    assert [row[2] for row in rows(read(frame, tmp_path))] == texts


MICROSECONDS = 1_704_164_645_000_000  # 2024-01-02 03:04:05 UTC


@pytest.mark.parametrize(
    ("times", "timezone", "expected"),
    [
        (pa.array([1_704_164_645], pa.timestamp("s")), None, MICROSECONDS),
        (
            pa.array([1_704_164_645_000], pa.timestamp("ms", "Asia/Tokyo")),
            "Asia/Tokyo",
            MICROSECONDS,
        ),
        (pa.array([1_704_164_645_000], pa.timestamp("ms")), "Etc/GMT-1", MICROSECONDS - 36 * 10**8),
        (pa.array([MICROSECONDS], pa.timestamp("us", "UTC")), None, MICROSECONDS),
        (pa.array([MICROSECONDS * 1000 + 999], pa.timestamp("ns")), None, MICROSECONDS),
        (pa.array([19_724], pa.date32()), None, 1_704_153_600_000_000),
        (pa.array([1_704_153_600_000], pa.date64()), None, 1_704_153_600_000_000),
        (pa.array([2**62], pa.timestamp("ms")), None, 10**18),
        (pa.array([10**15], pa.timestamp("s")), "Europe/Berlin", 10**18),
        (pa.array([1_700_000_000]), None, "1700000000"),
    ],
)
def test_times_of_any_type_are_microseconds(tmp_path, times, timezone, expected):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"t": times}), path)
    assert rows(open_(path, {"timestamp": "t"}, timezone=timezone)) == [(1, None, expected)]


def test_times_of_12_bytes_reach_far(tmp_path):
    path = tmp_path / "log.parquet"
    times = pa.array([datetime(2024, 1, 2, 3, 4, 5), datetime(9999, 1, 1)], pa.timestamp("us"))
    pq.write_table(pa.table({"t": times}), path, use_deprecated_int96_timestamps=True)
    (batch,) = open_(path, {"timestamp": "t"})
    assert batch.rows["timestamp"].cast(pl.Datetime("us")).to_list() == times.to_pylist()


def test_uuids_are_written_as_usual(tmp_path):
    id_ = UUID("c0ffee00-1234-4abc-9def-0123456789ab")
    found = read_arrow(tmp_path, {"user_id": "u"}, u=pa.array([id_.bytes, None], pa.uuid()))
    assert found == [(None, str(id_)), (None, None)]


def test_a_text_that_is_not_utf8_is_a_bad_row(tmp_path):
    texts = pa.array([b"a", b"\xffb", None]).cast(pa.binary())
    present, offsets, data = texts.buffers()
    broken = pa.StringArray.from_buffers(3, offsets, data, present)
    for column in (texts, broken, broken.dictionary_encode()):
        found = read_arrow(tmp_path, {"user_id": "u"}, u=column)
        assert found == [
            (None, "a"),
            ("not valid UTF-8: user_id is b'\\xffb'", None),
            (None, None),
        ]


def test_nested_fields_by_dotted_paths(tmp_path):
    user = pa.array([{"id": "a", "n": {"x": 1}}, {"id": None, "n": None}, None])
    columns = {"user_id": "user.id", "item_id": "user.n.x", "timestamp": "a.b"}
    found = read_arrow(tmp_path, columns, user=user, **{"a.b": pa.array(["1", "2", "3"])})
    assert found == [(None, "a", "1", "1"), (None, None, None, "2"), (None, None, None, "3")]


def test_lists_are_an_event_of_each_element(tmp_path):
    events = pa.array([[{"aid": 1, "t": 5}, {"aid": 2, "t": 6}], [], None, [{"aid": 3, "t": 7}]])
    arrays = {
        "s": pa.array([1, 2, 3, 4]),
        "events": events,
        "n": pa.array([[9, 8], [], [], [7, 6]]),
    }
    columns = {"user_id": "s", "item_id": "events.aid", "timestamp": "events.t"}
    assert read_arrow(tmp_path, columns, **arrays) == [
        (None, "1", "1", "5"),
        (None, "1", "2", "6"),
        (EMPTY_LIST, "2", None, None),
        (None, "3", None, None),
        (None, "4", "3", "7"),
    ]
    unequal = read_arrow(tmp_path, columns | {"value": "n"}, **arrays)
    assert unequal[:2] == [(None, "1", "1", "5", "9"), (None, "1", "2", "6", "8")]
    assert unequal[-1] == ("lists of different lengths", "4", None, None, None)


def test_a_damaged_page_is_an_error_that_names_the_file_and_the_row(tmp_path):
    path = tmp_path / "log.parquet"
    values = [f"user {at * 7919 % 100_003}" for at in range(20_000)]
    pl.DataFrame({"user_id": values}).write_parquet(path, row_group_size=5000, compression="zstd")
    data = bytearray(path.read_bytes())
    middle = len(data) * 2 // 3
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"log.parquet is damaged after row \d+ "):
        list(open_(path, {"user_id": "user_id"}, batch_rows=5000))
    path.write_bytes(data[:-100])
    with pytest.raises(DataError, match=r"log.parquet cannot be read as Parquet"):
        open_(path, {"user_id": "user_id"})


def test_a_column_that_is_there_twice_is_refused_by_name(tmp_path):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table([[1], [2], [3]], names=["u", "u", "v"]), path)
    with pytest.raises(ConfigError, match="has 2 columns of this name"):
        open_(path, {"user_id": "u"})
    assert rows(open_(path, {"user_id": "v"})) == [(1, None, "3")]


def test_batches_do_not_change_the_rows(tmp_path):
    frame = pl.DataFrame({"user_id": range(10)})
    batches = list(read(frame, tmp_path, batch_rows=4))
    assert [batch.read for batch in batches] == [4, 4, 2]
    assert rows(batches) == [(row, None, str(row - 1)) for row in range(1, 11)]
    assert raw(batches[1], [True, False, False, True]) == ['{"user_id": 4}', '{"user_id": 7}']
    assert batches[-1].position == (tmp_path / "log[1].parquet").stat().st_size


@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}], timedelta(1), time(12)])
def test_a_column_without_single_values_is_refused(tmp_path, value):
    with pytest.raises(ConfigError, match=r"has type .*; a single value per row is needed"):
        read(pl.DataFrame({"user_id": [value]}), tmp_path)


def test_a_missing_column_is_refused(tmp_path):
    pl.DataFrame({"user": [1]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(ConfigError, match=r"no such column \(did you mean 'user'\?\)"):
        open_(tmp_path / "log.parquet", {"user_id": "user_id"})


def test_another_format_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read as Parquet .*ingest.format"):
        open_(write(tmp_path, "u,i\na,b\n"), COLUMNS)


def test_an_empty_table_is_no_rows(tmp_path):
    assert rows(read(pl.DataFrame({"user_id": [""]}).clear(), tmp_path)) == []
