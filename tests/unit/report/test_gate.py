"""The gate's section: put into a page that is there, once, whatever stands in it."""

from typing import Any

import pytest

from diffrec_core.common.errors import ArtifactError
from diffrec_core.report.data import ReportData
from diffrec_core.report.gate import add_gate_section
from diffrec_core.report.html import render_report
from tests.unit.report.test_html import ATTACK, Page

MEASURES = {
    "coverage": 0.5,
    "served_share": 1.0,
    "popularity": 0.125,
    "latency_ms": 0.0421,
    "size_mib": 3.25,
}


def guard(**changes: Any) -> dict[str, Any]:
    values = {"name": "coverage ratio", "key": "min_coverage_ratio", "value": 0.75}
    return {**values, "sense": "at least", "limit": 0.8, "kept": False, "detail": "a", **changes}


def decision(**changes: Any) -> dict[str, Any]:
    numbers = {"metric": "recall@20", "users": 1234, "against": "champion", "candidate": 0.25}
    numbers |= {"champion": 0.2, "popularity": 0.1, "difference": 0.05, "lower_bound": 0.03}
    numbers |= {"margin": 0.0, "confidence_level": 0.95, "resamples": 10000}
    start, end = "2024-01-01T00:00:00.000001+00:00", "2024-01-08T10:00:00.000001+00:00"
    window = {"start": start, "end": end, "cut_by": "champion", "cut_seconds": 0.0, "users": 1234}
    content = {
        "decision": "keep",
        "reason": "guards broken: coverage",
        "numbers": numbers,
        "guards": [guard(), guard(name="size", value=None, kept=True, detail="")],
        "window": window,
        "candidate": {"version": "7", "measures": MEASURES},
        "champion": {"version": "5", "measures": MEASURES},
        "popularity": {"measures": {**MEASURES, "latency_ms": None, "size_mib": None}},
    }
    return {**content, **changes}


def test_the_section_is_linked_and_says_what_was_found(data: ReportData) -> None:
    page = Page(add_gate_section(render_report(data, {}), decision()))
    assert next(e["id"] for e in page.all("section")) == "gate"
    assert {"href": "#gate"} in page.all("a")
    text = page.text("section")
    assert "Version 5 stays champion." in text
    assert "guards broken: coverage." in text
    assert "candidate, version 7 0.2500 0.5000 1.0000 0.1250 0.0421 3.2" in text
    assert "what is popular 0.1000 0.5000 1.0000 0.1250 – –" in text
    assert "coverage ratio 0.75 at least 0.8 ✗ broken a" in text
    assert "size – at least 0.8 ✓ kept" in text
    assert "2024-01-01 00:00 UTC to 2024-01-08 10:00 UTC" in text
    assert "lower bound +0.0300" in text


def test_writing_again_replaces_the_section(data: ReportData) -> None:
    once = add_gate_section(render_report(data, {}), decision())
    assert add_gate_section(once, decision()) == once
    other = add_gate_section(once, decision(decision="promote", reason=r"better \1"))
    assert "Version 7 is to become champion, in place of version 5." in other
    assert r"better \1." in other
    assert "stays champion" not in other


def test_without_a_champion_or_a_comparison(data: ReportData) -> None:
    html = render_report(data, {})
    first = add_gate_section(html, decision(champion=None, decision="promote"))
    assert "Version 7 is to become champion." in first
    refused = {"numbers": {}, "guards": [], "window": None, "reason": "no fair comparison"}
    page = Page(add_gate_section(html, decision(champion=None, **refused)))
    assert "Version 7 is not to become champion; there is none. no fair comparison." in page.text(
        "section"
    )


def test_what_is_inserted_is_escaped(data: ReportData) -> None:
    html = add_gate_section(render_report(data, {}), decision(reason=ATTACK))
    assert ATTACK not in html
    assert ATTACK in Page(html).text("section")


def test_a_report_without_a_place_for_it(data: ReportData) -> None:
    html = render_report(data, {}).replace("<!-- gate -->", "")
    with pytest.raises(ArtifactError, match="no place for the gate"):
        add_gate_section(html, decision())
