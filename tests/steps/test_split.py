"""The split as a command: what it says where users had seen what they are to be judged by."""

from pathlib import Path
from typing import Any

import pytest

from tests.raw_logs import Event, ingest_section, planted_events, run_step, write_log, write_params

PARTS = ("train", "validation", "test")


def split(folder: Path, looked_at: int, **interactions: Any) -> Any:
    """Buys, of which so many of ten were looked at an hour before all; run up to the split."""
    buys = planted_events(users_per_block=10)
    first = buys[0].timestamp - 3600
    views = [
        Event(buy.user_id, buy.item_id, first, "look")
        for number, buy in enumerate(buys)
        if number % 10 < looked_at
    ]
    buys = [Event(buy.user_id, buy.item_id, buy.timestamp, "buy") for buy in buys]
    write_log(folder / "log.csv", [*views, *buys])
    write_params(
        folder,
        list_raw={"logs": ["log.csv"], "titles": None},
        ingest=ingest_section(),
        build_interactions={"event_types": ["buy"], **interactions},
        split={"method": "per_user_time"},
    )
    for line in (
        "list_raw --out raw.json",
        "ingest --raw-manifest raw.json --events events --quarantine quarantine --titles titles",
        "build_interactions --events events --titles titles --out interactions",
    ):
        assert run_step(*line.split(), cwd=folder).returncode == 0
    outs = (f"--{part} {part}" for part in PARTS)
    return run_step(*f"split --interactions interactions {' '.join(outs)}".split(), cwd=folder)


@pytest.mark.parametrize(
    ("looked_at", "settings", "code", "level"),
    [
        (0, {}, 0, None),
        (5, {}, 0, "WARNING"),
        (10, {}, 3, "ERROR"),
        (10, {"seen_event_types": ["buy"]}, 0, None),
    ],
)
def test_targets_that_had_been_seen_are_told(
    tmp_path: Path, looked_at: int, settings: dict[str, Any], code: int, level: str | None
) -> None:
    result = split(tmp_path, looked_at, **settings)
    assert result.returncode == code, result.stderr
    told = [line for line in result.stderr.splitlines() if "seen_event_types" in line]
    assert bool(told) == (level is not None)
    for line in told:
        assert level in line
        assert "interactions the user had seen the item before that part" in line
