"""What was seen of an unknown log, written as sections of params.yaml with comments."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from diffrec_core.data.schema import EVENT_TYPE, ITEM_ID, TIMESTAMP, USER_ID, VALUE
from diffrec_core.ingestion.inspection import UNITS, Column, Inspection
from diffrec_core.ingestion.timestamps import microseconds


def proposal(path: Path, found: Inspection) -> str:
    """Write what was found as sections of params.yaml, with comments."""
    time = found.mapping.get(TIMESTAMP)
    lines = [
        f"# Proposed by inspect-logs from a sample of {path}; see docs/your-logs.md.",
        "list_raw:",
    ]
    lines += [f"  logs: [{_yaml(path.as_posix())}]", "  titles: null", "ingest:"]
    settings = found.layout | found.settings
    lines += [f"  {key}: {_yaml(value)}" for key, value in settings.items()]
    lines.append("  columns:")
    for name in (USER_ID, ITEM_ID, TIMESTAMP, EVENT_TYPE, VALUE):
        column = found.mapping.get(name)
        if column is not None:
            lines.append(f"    {name}: {_yaml(column.name)}   # {column.describe()}")
        elif name in (EVENT_TYPE, VALUE):
            lines.append(f"    {name}: null")
        else:
            lines.append(f"    {name}: FILL_IN   # not recognised")
    lines += _time_lines(time)
    lines += _missing_lines(found)
    lines += ["build_interactions:", "  event_types: null" + _types(found)]
    if EVENT_TYPE in found.mapping:
        lines.append("  seen_event_types: null   # of these are not recommended again; null: all")
    lines += ["  min_value: null", "  min_user_interactions: 5", "  min_item_interactions: 5"]
    lines += [f"# note: {note}" for note in found.notes]
    others = [c for c in found.columns if c not in found.mapping.values()]
    lines += [f"# not used: {_yaml(c.name)}: {c.describe()}" for c in others[:30]]
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    return "null" if value is None else json.dumps(value, ensure_ascii=False)


def _time_lines(time: Column | None) -> list[str]:
    if time is None:
        return ["  timestamp_format: seconds"]
    if time.typed_time or time.time_format is None:
        return ["  timestamp_format: iso8601   # the file has a type for times"]
    times = microseconds(time.texts.drop_nulls(), time.time_format).drop_nulls()
    ends = [datetime.fromtimestamp(each / 1e6, UTC) for each in times.sort().to_list()]
    span = f"{ends[0]:%F %H:%M} to {ends[-1]:%F %H:%M} in the sample"
    lines = [f"  timestamp_format: {_yaml(time.time_format)}   # {span}"]
    if time.time_format not in UNITS and "%z" not in time.time_format:
        lines.append("  timezone: null   # of times without an offset, if they are not UTC")
    if time.time_format.startswith(("%d/%m", "%m/%d")):
        lines.append("  # day and month may be the other way round: compare the span above")
    return lines


def _missing_lines(found: Inspection) -> list[str]:
    lines = []
    for name, key in ((USER_ID, "without_user"), (ITEM_ID, "without_item")):
        column = found.mapping.get(name)
        missing = column.texts.null_count() if column else 0
        if column and missing > 0.005 * len(column.texts):
            share = missing / len(column.texts)
            lines.append(f"  {key}: set_aside   # {share:.1%} of the sample lack it")
    return lines


def _types(found: Inspection) -> str:
    column = found.mapping.get(EVENT_TYPE)
    if column is None:
        return ""
    counts = column.texts.drop_nulls().value_counts(sort=True).head(10).iter_rows()
    return "   # null: all of " + ", ".join(f"{name} {count}" for name, count in counts)
