"""What the documents tell people to write is what the code accepts."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from diffrec_core.config import check_sections, load_section
from diffrec_core.data.interactions import InteractionsConfig
from diffrec_core.data.splits import SplitConfig
from diffrec_core.ingestion.raw_files import ListRawConfig
from diffrec_core.ingestion.readers import IngestConfig
from pipeline_steps._runtime import SECTIONS

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
CONFIGS = {
    "list_raw": ListRawConfig,
    "ingest": IngestConfig,
    "build_interactions": InteractionsConfig,
    "split": SplitConfig,
}


def snippets(language: str) -> list[tuple[str, str]]:
    """Name of the document and text of each fenced block in a language."""
    pattern = re.compile(rf"```{language}\n(.*?)```", re.DOTALL)
    return [(path.name, text) for path in DOCUMENTS for text in pattern.findall(path.read_text())]


@pytest.mark.parametrize(("document", "text"), snippets("yaml"))
def test_yaml_is_accepted(document: str, text: str) -> None:
    params: dict[str, Any] = YAML(typ="safe").load(text)
    check_sections(params, SECTIONS)
    for name in params:
        load_section(params, name, CONFIGS[name])


def test_the_readme_shows_how_to_read_other_logs_in_ten_lines() -> None:
    (text,) = [text for document, text in snippets("yaml") if document == "README.md"]
    assert len(text.splitlines()) <= 10


def test_own_params_are_accepted_and_complete() -> None:
    params = YAML(typ="safe").load(PROJECT / "params.yaml")
    assert set(params) == SECTIONS
    assert set(params["models"]) == set(params["train"])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"`make ([a-z-]+)", document.read_text()))
        assert named <= targets, f"{document.name} names {named - targets}"
