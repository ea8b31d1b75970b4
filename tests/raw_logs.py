"""Small raw logs with a planted structure, in any format, and running steps on them.

Users and items come in blocks: a user touches items of the own block only. So a model that has
learned anything ranks the block's items that the user has not touched above all other blocks'.
Ids say the block: `u0_3` is user 3 of block 0, `i1_7` is item 7 of block 1.
"""

import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl
from ruamel.yaml import YAML

from diffrec_core.ingestion.checksums import ChecksumCache
from diffrec_core.ingestion.raw_manifest import RawFile

REPOSITORY = Path(__file__).resolve().parent.parent
START = 1_700_000_000  # 2023-11-14 22:13:20 UTC
COLUMNS = {
    "user_id": "user",
    "item_id": "item",
    "timestamp": "time",
    "event_type": "event",
    "value": "rating",
}
LogFormat = Literal["delimited", "jsonl", "parquet"]


@dataclass(frozen=True, slots=True)
class Event:
    """One row of a raw log; the timestamp is in seconds since 1970."""

    user_id: str
    item_id: str
    timestamp: int
    event_type: str = "view"
    value: float = 5.0


def planted_events(
    *,
    blocks: int = 2,
    users_per_block: int = 12,
    items_per_block: int = 10,
    events_per_user: int = 8,
    disliked_per_user: int = 0,
    seed: int = 0,
) -> list[Event]:
    """Make events in which users touch items of their own block only, in order of time.

    Every user touches `events_per_user` different items (at most `items_per_block`), at times
    that are spread evenly and differ from those of all other events. Halfway, every user rates
    `disliked_per_user` further ones of the block 1.
    """
    draw = random.Random(seed)
    users = [(block, user) for block in range(blocks) for user in range(users_per_block)]
    chosen = {user: draw.sample(range(items_per_block), events_per_user) for user in users}
    events = []
    for turn in range(events_per_user):
        draw.shuffle(users)
        for block, user in users:
            events.append(
                Event(
                    user_id=f"u{block}_{user}",
                    item_id=f"i{block}_{chosen[block, user][turn]}",
                    timestamp=START + 3600 * len(events),
                    value=float(draw.choice([4, 5])),
                )
            )
    halfway = START + 1800 * len(events)
    for number, (block, user) in enumerate(sorted(users)):
        others = [item for item in range(items_per_block) if item not in chosen[block, user]]
        for item in others[:disliked_per_user]:
            time = halfway + number  # between two of the others
            events.append(Event(f"u{block}_{user}", f"i{block}_{item}", time, value=1.0))
    return sorted(events, key=lambda event: event.timestamp)


def block_of(external_id: str) -> int:
    """The block of a planted user or item id."""
    return int(external_id[1:].split("_", maxsplit=1)[0])


def write_log(
    path: Path,
    events: Iterable[Event],
    *,
    format: LogFormat = "delimited",
    delimiter: str = ",",
    header: bool = True,
    timestamp_format: str = "seconds",
) -> Path:
    """Write events as a raw log with the columns COLUMNS; `.gz` in the name compresses text."""
    rows = [_row(event, timestamp_format) for event in events]
    path.parent.mkdir(parents=True, exist_ok=True)
    if format == "parquet":
        pl.DataFrame(rows).write_parquet(path)
        return path
    if format == "jsonl":
        lines = [json.dumps(row) for row in rows]
    else:
        lines = [delimiter.join(map(str, row.values())) for row in rows]
        lines[:0] = [delimiter.join(COLUMNS.values())] if header else []
    return write_lines(path, lines)


def listed(path: Path) -> RawFile:
    """The record of a file, as `list_raw` would make it."""
    return ChecksumCache().record(path)


def write_titles(path: Path, events: Iterable[Event]) -> Path:
    """Write a CSV file with a title for every item of the events: columns `item` and `name`."""
    items = sorted({event.item_id for event in events})
    return write_lines(path, ["item,name", *(f'{item},"Title of {item}, the"' for item in items)])


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """Write a text file, compressed when its name ends with `.gz`."""
    data = "".join(f"{line}\n" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def ingest_section(
    *,
    format: LogFormat = "delimited",
    delimiter: str = ",",
    header: bool = True,
    timestamp_format: str = "seconds",
    **changes: Any,
) -> dict[str, Any]:
    """The section `ingest` of params.yaml that reads what `write_log` writes."""
    by_position = format == "delimited" and not header
    columns: dict[str, Any] = dict(COLUMNS)
    if by_position:
        columns = {field: at for at, field in enumerate(COLUMNS)}
    section = {
        "format": format,
        "delimiter": delimiter,
        "header": header,
        "columns": columns,
        "timestamp_format": timestamp_format,
        "titles": {"delimiter": ",", "columns": {"item_id": "item", "title": "name"}},
    }
    return section | changes


def write_params(folder: Path, **sections: Any) -> Path:
    """Write params.yaml with the given sections."""
    path = folder / "params.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump({"seed": 7, **sections}, file)
    return path


def run_step(
    name: str, *arguments: str | Path, cwd: Path, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a stage or a verb as the pipeline does, in a folder of its own."""
    is_stage = (REPOSITORY / "pipeline_steps" / f"{name}.py").is_file()
    command = [f"pipeline_steps.{name}"] if is_stage else ["pipeline_steps", name]
    return subprocess.run(
        [sys.executable, "-m", *command, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def _row(event: Event, timestamp_format: str) -> dict[str, Any]:
    values = (
        event.user_id,
        event.item_id,
        _time(event.timestamp, timestamp_format),
        event.event_type,
        event.value,
    )
    return dict(zip(COLUMNS.values(), values, strict=True))


def _time(seconds: int, timestamp_format: str) -> int | str:
    factors = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}
    if timestamp_format in factors:
        return seconds * factors[timestamp_format]
    time = datetime.fromtimestamp(seconds, UTC)
    return time.isoformat() if timestamp_format == "iso8601" else time.strftime(timestamp_format)
