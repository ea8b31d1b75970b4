"""The gate's decision, put into a report that is there already.

A report is written before the model is registered, and the gate decides after that. So the page
keeps a place for it between two comments; writing the section again replaces it.
"""

import re
from collections.abc import Mapping
from typing import Any

from diffrec_core.common.errors import ArtifactError
from diffrec_core.report.facts import FactTable, flatten, write_value
from diffrec_core.report.style import template_environment

_LINK = '<li><a href="#gate">Gate</a></li>'
_MEASURES = {
    "coverage": ("coverage", ".4f"),
    "served_share": ("users served", ".4f"),
    "popularity": ("popularity", ".4f"),
    "latency_ms": ("ms per user", ".3g"),
    "size_mib": ("MiB", ",.1f"),
}


def add_gate_section(html: str, gate: Mapping[str, Any]) -> str:
    """Put the section about a decision into the page of a report.

    Args:
        html: what `render_report` wrote.
        gate: the content of `gate.json`.

    Raises:
        ArtifactError: the page has no place for it.
    """
    section = (
        template_environment()
        .get_template("gate.html.j2")
        .render(
            verdict=_verdict(gate),
            reason=gate["reason"],
            versions=_versions(gate) if gate["numbers"] else None,
            guards=_guards(gate) if gate["guards"] else None,
            compared=_compared(gate) if gate["numbers"] else None,
        )
    )
    return _fill(_fill(html, "gate-link", _LINK), "gate", section)


def _fill(html: str, place: str, content: str) -> str:
    """Put content between the comments that keep a place for it.

    >>> _fill("a<!-- x -->old<!-- /x -->b", "x", "new")
    'a<!-- x -->new<!-- /x -->b'
    """
    start, end = f"<!-- {place} -->", f"<!-- /{place} -->"
    pattern = re.compile(f"({re.escape(start)}).*?({re.escape(end)})", re.DOTALL)
    filled, count = pattern.subn(lambda found: f"{found[1]}{content}{found[2]}", html, count=1)
    if count == 0:
        raise ArtifactError(
            f"the report has no place for the gate's decision ({start}): it is of an earlier "
            f"version; run dvc repro select"
        )
    return filled


def _verdict(gate: Mapping[str, Any]) -> str:
    candidate, champion = gate["candidate"]["version"], gate["champion"]
    if gate["decision"] == "promote":
        over = f", in place of version {champion['version']}" if champion else ""
        return f"Version {candidate} is to become champion{over}."
    if champion is None:
        return f"Version {candidate} is not to become champion; there is none."
    return f"Version {champion['version']} stays champion."


def _versions(gate: Mapping[str, Any]) -> FactTable:
    numbers = gate["numbers"]
    columns = ["", numbers["metric"], *(heading for heading, _ in _MEASURES.values())]
    rows = []
    for role in ("candidate", "champion", "popularity"):
        if gate[role] is None:
            continue
        number = gate[role].get("version")
        name = f"{role}, version {number}" if number else "what is popular"
        rows.append((name, [f"{numbers[role]:.4f}", *_measures(gate[role]["measures"])]))
    return FactTable("versions", columns, rows)


def _measures(measures: Mapping[str, float | None]) -> list[str]:
    values = [(measures[key], form) for key, (_, form) in _MEASURES.items()]
    return ["–" if value is None else format(value, form) for value, form in values]


def _guards(gate: Mapping[str, Any]) -> FactTable:
    rows = []
    for guard in gate["guards"]:
        value = "–" if guard["value"] is None else f"{guard['value']:.4g}"
        verdict = "✓ kept" if guard["kept"] else "✗ broken"
        cells = [value, f"{guard['sense']} {guard['limit']:g}", verdict, guard["detail"]]
        rows.append((guard["name"], cells))
    return FactTable("guards", ["", "found", "allowed", "verdict", "from"], rows)


def _compared(gate: Mapping[str, Any]) -> list[tuple[str, str]]:
    numbers, window = gate["numbers"], gate["window"]
    return [
        ("window", f"{write_value(window['start'])} to {write_value(window['end'])}"),
        ("begins after the training of", f"the {window['cut_by']}"),
        ("users", write_value(numbers["users"])),
        ("compared with", numbers["against"]),
        ("difference", f"{numbers['difference']:+.4f}"),
        ("lower bound", f"{numbers['lower_bound']:+.4f}"),
        *flatten({key: numbers[key] for key in ("margin", "confidence_level", "resamples")}),
    ]
