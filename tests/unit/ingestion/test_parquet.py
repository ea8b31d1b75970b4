from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from diffrec_core.common.errors import ConfigError, DataError
from diffrec_core.ingestion.parquet import read_parquet
from diffrec_core.ingestion.raw_rows import RawBatch, Source

SOURCE = Source("log.csv", "ingest")
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
    return read_parquet(path, columns, Source(str(path), "ingest"), **changes)


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
        '{"user_id": 2.5, "item_id": "b", "other": [2]}',
        '{"user_id": null, "item_id": "a", "other": [3]}',
    ]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([2**63, 1], ["9223372036854775808", "1"]),
        ([True, False], ["true", "false"]),
        ([Decimal("1.50"), Decimal("2")], ["1.50", "2.00"]),
        ([b"abc", b"\xff"], ["abc", None]),
        ([1e300, float("nan")], ["1e+300", "NaN"]),
    ],
)
def test_values_of_any_single_type_become_texts(tmp_path, values, texts):
    frame = pl.DataFrame({"user_id": values})
    assert [row[2] for row in rows(read(frame, tmp_path))] == texts


def test_times_and_dates_stay_what_they_are(tmp_path):
    time = datetime(2024, 1, 2, 3, tzinfo=UTC)
    for value in (time, date(2024, 1, 2)):
        (batch,) = read(pl.DataFrame({"timestamp": [value]}), tmp_path)
        assert batch.rows["timestamp"].to_list() == [value]
    (batch,) = read(pl.DataFrame({"timestamp": [1_700_000_000]}), tmp_path)
    assert batch.rows["timestamp"].to_list() == ["1700000000"]


def test_batches_do_not_change_the_rows(tmp_path):
    frame = pl.DataFrame({"user_id": range(10)})
    batches = list(read(frame, tmp_path, batch_rows=4))
    assert [batch.read for batch in batches] == [4, 4, 2]
    assert rows(batches) == [(row, None, str(row - 1)) for row in range(1, 11)]
    assert raw(batches[1], [True, False, False, True]) == ['{"user_id": 4}', '{"user_id": 7}']
    assert batches[-1].position == (tmp_path / "log[1].parquet").stat().st_size


def test_a_column_of_lists_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"has type List\(Int64\); a single value"):
        list(read(pl.DataFrame({"user_id": [[1], [2]]}), tmp_path))


def test_a_missing_column_is_refused(tmp_path):
    pl.DataFrame({"user": [1]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(ConfigError, match=r"no such column \(did you mean 'user'\?\)"):
        list(read_parquet(tmp_path / "log.parquet", {"user_id": "user_id"}, SOURCE))


def test_another_format_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read as Parquet .*ingest.format"):
        list(read_parquet(write(tmp_path, "u,i\na,b\n"), COLUMNS, SOURCE))


def test_an_empty_table_is_no_rows(tmp_path):
    assert rows(read(pl.DataFrame({"user_id": [""]}).clear(), tmp_path)) == []
