"""Show the log of promotions and rollbacks: which version became champion when, why, by how much.

If a promotion was interrupted or an alias was moved by hand, it first makes aliases and log agree,
and warns.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from pipeline_steps.champion.promotion_log import open_promotions
from pipeline_steps.champion.promotion_store import Record
from pipeline_steps.params.steps import RegisterConfig
from pipeline_steps.registry import versions
from pipeline_steps.runtime.command import Inputs


class HistoryInputs(Inputs):
    """The output format."""

    as_json: bool = Field(default=False, alias="json")
    """Print JSON to standard output."""


def run(inputs: HistoryInputs, register: RegisterConfig, params: Path) -> None:
    """Show the log."""
    with open_promotions(register, params) as promotions:
        promotions.settle()
        records, aliases = promotions.records(), versions.aliases(promotions.model)
    if inputs.as_json:
        entries = [asdict(record) for record in records]
        content = {"model": promotions.model, "aliases": aliases, "records": entries}
        sys.stdout.write(json.dumps(content, indent=2, sort_keys=True) + "\n")
        return
    console = Console()
    console.print(_table(promotions.model, records) if records else _nothing(promotions.model))
    console.print(_aliases(aliases))


def _table(model: str, records: Sequence[Record]) -> Group:
    """A row per record, then their reasons."""
    table = Table(title=f"Promotions of {model}", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("#", "version", "before"):
        table.add_column(heading, justify="right")
    for heading in ("what", "when, UTC", "by", "metric"):
        table.add_column(heading, overflow="fold")
    for record in records:
        when = record.time[:16].replace("T", " ")
        cells = [str(record.sequence), record.version or "none", record.previous or "none"]
        cells += [record.action, when, record.by, _metric(record.numbers)]
        table.add_row(*map(Text, cells))
    reasons = [Text(f" {record.sequence}  {record.reason}") for record in records]
    return Group(table, *reasons, Text())  # Text: a reason is not markup


def _metric(numbers: Mapping[str, Any]) -> str:
    """The gate's result, in short.

    >>> numbers = {"metric": "recall@20", "candidate": 0.25, "difference": 0.015}
    >>> _metric(numbers)
    'recall@20 0.2500, +0.0150'
    """
    if not numbers:
        return ""
    return f"{numbers['metric']} {numbers['candidate']:.4f}, {numbers['difference']:+.4f}"


def _nothing(model: str) -> Text:
    return Text(f"Nothing was promoted or rolled back yet: the log of {model} is empty.")


def _aliases(aliases: Mapping[str, str]) -> Text:
    names = (versions.CHAMPION, versions.CHALLENGER, versions.PREVIOUS)
    targets = [f"{name} version {aliases[name]}" for name in names if name in aliases]
    return Text(f"Now: {', '.join(targets) or 'no alias points to any version'}", style="dim")
