"""Draw pipeline.svg, the picture of README.md: the stages of dvc.yaml, placed by hand.

Run from the project's folder: python -m docs.figures.pipeline
"""

from pathlib import Path
from typing import NamedTuple

from markupsafe import escape

FIGURE = Path(__file__).with_suffix(".svg")
_HEIGHT = 52
_GAP = 2
"""Between the point of an arrow and the box."""


class Box(NamedTuple):
    """A stage: the kind of what it makes, its place, and a remark."""

    kind: str
    x: int
    y: int
    width: int
    remark: str
    label: str = ""


BOXES = {
    "list_raw": Box("data", 20, 30, 128, "raw logs"),
    "ingest": Box("data", 178, 30, 128, "events, quarantine"),
    "build_interactions": Box("data", 336, 30, 128, "users × items"),
    "split": Box("data", 494, 30, 128, "by time"),
    "pretrain_item_embeddings": Box("fit", 652, 30, 148, "LightGCN embeddings", "pretrain"),
    "cluster_items": Box("fit", 832, 30, 148, "k-means"),
    "train": Box("fit", 652, 150, 328, "one stage per model", "train @ model"),
    "evaluate": Box("data", 494, 236, 148, "metrics, test once", "evaluate @ model"),
    "select": Box("data", 336, 150, 128, "on validation"),
    "refit": Box("fit", 178, 150, 128, "on all data"),
    "register": Box("out", 20, 150, 128, "MLflow alias"),
    "recommend": Box("out", 20, 236, 128, "table for every user"),
}
ARROWS = (
    ("list_raw", "ingest"),
    ("ingest", "build_interactions"),
    ("build_interactions", "split"),
    ("split", "pretrain_item_embeddings"),
    ("pretrain_item_embeddings", "cluster_items"),
    ("cluster_items", "train"),
    ("split", "train"),
    ("train", "evaluate"),
    ("evaluate", "select"),
    ("select", "refit"),
    ("refit", "register"),
    ("register", "recommend"),
)
_CSS = """
text{font:13px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#1f2328}
text{text-anchor:middle}.small,.lane{font-size:12px;fill:#59636e}
.lane{text-anchor:start;font-weight:600}
rect{rx:7px;fill:#f6f8fa}.data{stroke:#0969da}.fit{stroke:#bf8700}.out{stroke:#1a7f37}
path{fill:none;stroke:#818b98;stroke-width:1.5;marker-end:url(#a)}
#a path{fill:#818b98;stroke:none;marker-end:none}
@media (prefers-color-scheme:dark){
text{fill:#f0f6fc}.small,.lane{fill:#9198a1}
rect{fill:#151b23}.data{stroke:#4493f8}.fit{stroke:#d29922}.out{stroke:#3fb950}
path{stroke:#9198a1}#a path{fill:#9198a1}}
"""
_DESCRIPTION = (
    "Raw logs become events, interactions and a split by time; LightGCN embeddings and clusters "
    "feed the latent models; all models are trained, evaluated and compared; the winner is "
    "refitted, registered and recommends."
)
_LANE = (
    "DVC: what is computed, and when it is stale · Airflow: when and where, a task for each box · "
    "MLflow: which model is live"
)


def draw() -> str:
    """The text of the file."""
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 360" role="img" '
        'aria-labelledby="t d">',
        '<title id="t">The pipeline</title>',
        f'<desc id="d">{_DESCRIPTION}</desc>',
        f"<style>{_CSS}</style>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>',
        *(_box(name, box) for name, box in BOXES.items()),
        *(f'<path d="{_arrow(BOXES[start], BOXES[end])}"/>' for start, end in ARROWS),
        f'<text class="lane" x="20" y="330">{escape(_LANE)}</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _box(name: str, box: Box) -> str:
    middle = box.x + box.width / 2
    return (
        f'<rect class="{box.kind}" x="{box.x}" y="{box.y}" width="{box.width}" '
        f'height="{_HEIGHT}"/><text x="{middle:g}" y="{box.y + 22}">{box.label or name}</text>'
        f'<text class="small" x="{middle:g}" y="{box.y + 40}">{escape(box.remark)}</text>'
    )


def _arrow(start: Box, end: Box) -> str:
    """Along the row where both share it; else down and along, or along and up."""
    row, column = end.y + _HEIGHT // 2, start.x + start.width // 2
    side = end.x - _GAP if end.x > column else end.x + end.width + _GAP
    if start.y == end.y:
        return f"M{start.x + start.width if end.x > start.x else start.x} {row}H{side}"
    if end.y < start.y:
        up = f"H{end.x + end.width // 2}V{end.y + _HEIGHT + _GAP}"
        return f"M{start.x} {start.y + _HEIGHT // 2}{up}"
    if end.x <= column <= end.x + end.width:
        return f"M{column} {start.y + _HEIGHT}V{end.y - _GAP}"
    return f"M{column} {start.y + _HEIGHT}V{row}H{side}"


if __name__ == "__main__":
    FIGURE.write_text(draw(), encoding="utf-8")
