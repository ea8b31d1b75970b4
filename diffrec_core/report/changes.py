"""Changes since the previous run, in words.

A run is identified by its summary: the choice, the sizes and spans of the parts, and every model's
settings and numbers; not by timings, which differ between equal runs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from diffrec_core.data.splits import EVALUATED_PARTS, PARTS
from diffrec_core.report.facts import FactTable, flatten, write_value

Summary = Mapping[str, Any]
_COUNTED = ("interactions", "users", "items")


@dataclass(frozen=True, slots=True)
class Changes:
    """The section of the report.

    Attributes:
        sentences: what changed.
        table: the numbers that did, model by model; None if there are none to compare.
        caption: of the table.
        settings: model and key, and the old and new value.
    """

    sentences: list[str] = field(default_factory=lambda: ["No earlier run is known here."])
    table: FactTable | None = None
    caption: str = ""
    settings: list[tuple[str, str]] = field(default_factory=list)


def summarize(leaderboard: Mapping[str, Any]) -> dict[str, Any]:
    """Summary of a leaderboard for the comparison with the next one, as read back from JSON."""
    summary = {
        "selected": leaderboard["selected"],
        "selected_on": leaderboard["selected_on"],
        "parts": leaderboard["protocol"]["parts"],
        "models": {
            name: {key: row[key] for key in ("config", "validation", "test")}
            for name, row in leaderboard["models"].items()
        },
    }
    restored: dict[str, Any] = json.loads(json.dumps(summary))
    return restored


def advance(known: Sequence[Summary], now: Summary) -> list[Summary]:
    """Append a run to the last of the known ones with another result.

    Appending the same run again changes nothing: it is compared with the same one as before.

    >>> advance([{"run": 1}, {"run": 2}], {"run": 3})
    [{'run': 2}, {'run': 3}]
    >>> advance([{"run": 2}, {"run": 3}], {"run": 3})
    [{'run': 2}, {'run': 3}]
    """
    earlier = [run for run in known if run != now]
    return [*earlier[-1:], now]


def compare_runs(previous: Summary | None, now: Summary) -> Changes:
    """Describe what changed from one run to the next; `previous` is None for the first."""
    if previous is None:
        return Changes()
    metric = str(now["selected_on"]).partition(" ")[2]
    settings = _settings(previous, now)
    changed = dict.fromkeys(label.partition(" · ")[0] for label, _ in settings)
    table = _table(previous, now, metric)
    sentences = [
        _winner(previous, now, metric),
        _data(previous, now),
        *_models(previous, now, metric),
        f"Settings changed: {', '.join(changed)}." if changed else "No setting changed.",
        *([] if table else ["No number of a model that is in both runs changed."]),
    ]
    caption = f"{metric} of the models in both runs, before and now; others did not change."
    return Changes(sentences, table, caption, settings)


def _winner(previous: Summary, now: Summary, metric: str) -> str:
    before, after = previous["selected"], now["selected"]
    start = (
        f"The winner is still {after}" if before == after else f"{after} won, before it {before}"
    )
    if previous["selected_on"] != now["selected_on"]:
        return f"{start}; chosen by {now['selected_on']}, before by {previous['selected_on']}."
    old, new = (run["models"][run["selected"]]["validation"][metric] for run in (previous, now))
    return f"{start}: {now['selected_on']} of the winner {_change(old, new)}."


def _change(old: float, new: float) -> str:
    """Write how a metric changed.

    >>> _change(0.2, 0.25), _change(0.2, 0.2)
    ('rose from 0.2000 to 0.2500 (+25.0%)', 'stays at 0.2000')
    """
    if f"{old:.4f}" == f"{new:.4f}":
        return f"stays at {new:.4f}"
    relative = f" ({new / old - 1:+.1%})" if old else ""
    return f"{'rose' if new > old else 'fell'} from {old:.4f} to {new:.4f}{relative}"


def _data(previous: Summary, now: Summary) -> str:
    if previous["parts"] == now["parts"]:
        return "The parts of the data have the same sizes and time spans."
    changed = []
    for part in PARTS:
        old, new = (run["parts"][part] for run in (previous, now))
        counts = [
            f"{new[key]:,} {key} ({new[key] - old[key]:+,})"
            for key in _COUNTED
            if new[key] != old[key]
        ]
        if old["last"] != new["last"]:
            counts.append(f"until {write_value(new['last'])}, before {write_value(old['last'])}")
        if counts:
            changed.append(f"{part} has {', '.join(counts)}")
    text = "; ".join(changed) or "time spans or new users and items differ"
    return f"The data changed: {text}. Numbers measured on other data differ for that alone."


def _models(previous: Summary, now: Summary, metric: str) -> list[str]:
    before, after = previous["models"], now["models"]
    new, gone = [n for n in after if n not in before], [n for n in before if n not in after]
    values = [f"{n} ({after[n]['validation'][metric]:.4f})" for n in new]
    return [
        *([f"New models, with validation {metric}: {', '.join(values)}."] if new else []),
        *([f"No longer there: {', '.join(gone)}."] if gone else []),
    ]


def _settings(previous: Summary, now: Summary) -> list[tuple[str, str]]:
    """Model and key, and old and new text, of every setting that differs."""
    changed = []
    for name, row in now["models"].items():
        if name not in previous["models"]:
            continue
        old, new = (dict(flatten(r["config"])) for r in (previous["models"][name], row))
        changed += [
            (f"{name} · {key}", f"{old.get(key, '–')} → {new.get(key, '–')}")
            for key in dict.fromkeys([*old, *new])
            if old.get(key) != new.get(key)
        ]
    return changed


def _table(previous: Summary, now: Summary, metric: str) -> FactTable | None:
    """Old and new number on both parts, of the models whose numbers changed, best first."""
    rows = []
    for name, row in now["models"].items():
        old = previous["models"].get(name)
        if old is None or any(metric not in old[part] for part in EVALUATED_PARTS):
            continue
        pairs = [(old[part][metric], row[part][metric]) for part in EVALUATED_PARTS]
        if any(a != b for a, b in pairs):
            numbers = [(f"{a:.4f}", f"{b:.4f}", f"{b - a:+.4f}") for a, b in pairs]
            rows.append((name, list(chain(*numbers))))
    headings = [f"{p} {when}" for p in EVALUATED_PARTS for when in ("before", "now", "±")]
    return FactTable("changes", ["model", *headings], rows) if rows else None
