"""Statuses to look at: a night on which everything happened, and a quiet one."""

from datetime import UTC, datetime, timedelta

import numpy as np

from diffrec_core.monitoring import checks
from diffrec_core.monitoring.champion import (
    ChampionScore,
    champion_age,
    champion_metric,
    table_age,
    weights_age,
)
from diffrec_core.monitoring.checks import Check
from diffrec_core.monitoring.config import MonitorConfig
from diffrec_core.monitoring.drift import Binned
from diffrec_core.monitoring.status import NightStatus

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CONFIG = MonitorConfig()
_LABELS = ("most popular", *(f"group {n}" for n in range(2, 11)), "new items")
_TABLE = "of run scheduled__2026-11-24T00-00-00-00-00 by diffrec version 12"
_LENGTHS = ("up to 1", "2", "3", "4 to 5", "6 to 8", "9 to 14", "15 to 31", "above 31")


def faulty_night() -> NightStatus:
    """Every verdict is there."""
    unknown = Check("champion_metric", "unknown", None, None, "the champion was not measured")
    return _night(
        checks.freshness(NOW - timedelta(hours=30), NOW, CONFIG),
        _rows(0.11),
        checks.quarantined(1_204, 98_000, {"no item_id": 1_100, "bad timestamp": 104}, CONFIG),
        _drift("popularity_drift", _LABELS, 0.9),
        _drift("history_drift", _LENGTHS, 0.0),
        champion_age("12", NOW - timedelta(days=3), "2026-11-20 23:59 UTC", NOW, CONFIG),
        weights_age("12", NOW - timedelta(days=61), NOW, CONFIG),
        unknown,
        table_age(_TABLE, NOW - timedelta(days=5), "2026-11-19 01:10 UTC", NOW, CONFIG),
    )


def quiet_night() -> NightStatus:
    """All is well."""
    score = ChampionScore(
        metric="recall@20", value=0.231, users=3_120, expected=0.24, window="2026-11-23"
    )
    return _night(
        checks.freshness(NOW - timedelta(hours=1), NOW, CONFIG),
        _rows(1.04),
        checks.quarantined(12, 98_000, {"no item_id": 12}, CONFIG),
        _drift("popularity_drift", _LABELS, 0.0),
        _drift("history_drift", _LENGTHS, 0.0),
        champion_age("12", NOW - timedelta(days=3), "2026-11-20 23:59 UTC", NOW, CONFIG),
        weights_age("12", NOW - timedelta(days=4), NOW, CONFIG),
        champion_metric(score, CONFIG),
        table_age(_TABLE, NOW - timedelta(hours=5), "2026-11-24 01:10 UTC", NOW, CONFIG),
    )


def _night(*found: Check) -> NightStatus:
    return NightStatus(NOW, "day", (NOW - timedelta(days=1), NOW), found)


def _rows(factor: float) -> Check:
    first = NOW - timedelta(days=29)
    days = [first + timedelta(days=n) for n in range(29)]
    busy = [
        int(98_000 * (0.55 if day.weekday() >= 5 else 1) + 4_000 * np.sin(n))
        for n, day in enumerate(days)
    ]
    busy[-1] = int(98_000 * factor)
    series = [(f"{day:%Y-%m-%d}", float(rows)) for day, rows in zip(days, busy, strict=True)]
    return checks.rows(busy[-1], busy[-8::-7], series, CONFIG, weekday="Monday")


def _drift(name: str, labels: tuple[str, ...], lost: float) -> Check:
    reference = np.full(len(labels), 10_000)
    newest = reference + np.round(300 * np.sin(np.arange(len(labels)) * 2.1)).astype(np.int64)
    moved = int(lost * newest[0])
    newest[0] -= moved
    newest[-1] += moved
    what = (
        "interactions by popularity of item"
        if "popularity" in name
        else "active users by interactions in 28 days"
    )
    return checks.drift(name, what, Binned(labels, reference, newest), CONFIG)
