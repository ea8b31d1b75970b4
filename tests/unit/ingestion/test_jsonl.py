import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from diffrec_core.common.errors import ConfigError
from diffrec_core.ingestion.jsonl import read_jsonl
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


def read(path: Path, columns: dict[str, Any] | None = None, **changes: Any) -> Any:
    return read_jsonl(path, columns or COLUMNS, SOURCE, **changes)


def test_fields_are_texts_as_they_are_written(tmp_path):
    path = write(
        tmp_path,
        '{"u": "a", "i": 7}\n\n {"i": 1.50, "u": 123456789012345678901234567890} \r\n'
        '{"u": true, "i": -1e5}\n{"u": "\\u00e9\\ud83d\\ude00", "i": NaN}\n',
    )
    (batch,) = read(path)
    assert batch.rows.rows() == [
        (1, None, "a", "7"),
        (3, None, "123456789012345678901234567890", "1.50"),
        (4, None, "true", "-1e5"),
        (5, None, "é😀", "NaN"),
    ]
    assert (batch.read, batch.blank) == (4, 1)
    assert raw(batch, [True, False, False, False]) == ['{"u": "a", "i": 7}']


def test_dotted_paths_lead_into_nested_objects(tmp_path):
    records = [{"user": {"id": "a"}, "i": 1}, {"user": "b", "i": 2}, {"user.id": "c", "i": 3}]
    path = write(tmp_path, "\n".join(map(json.dumps, records)))
    assert rows(read(path, {"user_id": "user.id", "item_id": "i"})) == [
        (1, None, "a", "1"),
        (2, None, None, "2"),
        (3, None, "c", "3"),
    ]


def test_missing_and_null_fields_are_null(tmp_path):
    path = write(tmp_path, '{"u": "a"}\n{"u": "a", "i": null}\n{"u": "a", "i": 1}')
    columns = COLUMNS | {"value": None, "event_type": "e"}
    assert rows(read(path, columns)) == [
        (1, None, "a", None, None, None),
        (2, None, "a", None, None, None),
        (3, None, "a", "1", None, None),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not valid JSON: Expecting property name"),
        ("user=1", "not valid JSON: Expecting value at position 0"),
        ('{"u": 1} x', "not valid JSON: text after the object at position 8"),
        ('{"u": 1}{"u": 2}', "not valid JSON: text after the object at position 8"),
        ("[1]", "not a JSON object"),
        ("7", "not a JSON object"),
        ('{"u": {"a": 1}, "i": 1}', 'u is not a single value: {"a": "1"}'),
        ('{"u": 1, "i": [1]}', 'i is not a single value: ["1"]'),
        ('{"u": "\\ud800", "i": 1}', "not valid JSON: an escape sequence is half"),
        ("[" * 100_000, "not valid JSON: nested too deeply"),
    ],
)
def test_a_line_that_is_no_object_of_single_values_is_a_problem(tmp_path, line, problem):
    path = write(tmp_path, f'{{"u": 1, "i": 2}}\n{line}\n{{"u": 3, "i": 4}}\n')
    good, bad, better = rows(read(path))
    assert good == (1, None, "1", "2")
    assert better == (3, None, "3", "4")
    assert bad[0] == 2
    assert bad[1].startswith(problem)


def test_a_required_field_that_no_record_has_is_refused(tmp_path):
    path = write(tmp_path, '{"user": {"id": 1, "name": "x"}, "i": 2}\n')
    with pytest.raises(ConfigError) as caught:
        list(read(path, {"user_id": "user.di", "item_id": "i"}))
    message = str(caught.value)
    assert "ingest.columns.user_id = 'user.di'" in message
    assert "did you mean 'user.id'?" in message
    assert "its columns: 'i', 'user.id', 'user.name'" in message


def test_a_required_field_that_is_always_null_is_not_a_missing_column(tmp_path):
    path = write(tmp_path, '{"u": null, "i": 2}\n')
    assert rows(read(path)) == [(1, None, None, "2")]


def test_the_first_readable_batch_is_the_one_that_is_checked(tmp_path):
    path = write(tmp_path, "garbage\n" * 10 + '{"u": 1, "i": 2}\n' * 2)
    assert len(rows(read(path, chunk_bytes=5))) == 12


def test_batches_do_not_change_the_rows(tmp_path):
    path = write(tmp_path, '{"u": 1, "i": 2}\n\nnot json\n' * 20)
    whole = rows(read(path))
    assert len(whole) == 40
    assert rows(read(path, chunk_bytes=7)) == whole
