"""What the documents tell people to write is what the code accepts."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from diffrec_core.common import errors
from diffrec_core.common.config import Config, load_section, lookup
from diffrec_core.contest.config import ContestConfig, GateConfig, GuardsConfig
from diffrec_core.data.recency import RecencyConfig
from diffrec_core.models.autoencoder.config import MultVaeConfig
from diffrec_core.models.diffrec.config import DiffRecConfig
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig
from diffrec_core.models.irgan.config import IrganConfig
from diffrec_core.models.kinds import KINDS, implementation
from diffrec_core.models.lightgcn.network import LightGCNConfig
from diffrec_core.models.sasrec.config import SasRecConfig
from diffrec_core.nn.denoising import DenoisingConfig
from diffrec_core.report.status import render_status
from pipeline_steps.__main__ import VERBS
from pipeline_steps.params.root import Params
from pipeline_steps.shared import Variable
from scripts import metric_tables
from tests.planted_status import faulty_night

PROJECT = Path(__file__).resolve().parents[2]
RUNBOOK = PROJECT / "docs" / "runbook.md"
DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]


def snippets(language: str) -> list[tuple[str, str]]:
    """Name of the document and text of each fenced block in a language."""
    pattern = re.compile(rf"```{language}\n(.*?)```", re.DOTALL)
    return [(path.name, text) for path in DOCUMENTS for text in pattern.findall(path.read_text())]


@pytest.mark.parametrize(("document", "text"), snippets("yaml"))
def test_yaml_is_accepted(document: str, text: str) -> None:
    params: dict[str, Any] = YAML(typ="safe").load(text)
    own = YAML(typ="safe").load(PROJECT / "params.yaml")
    Params.parse_all(own | params)


def test_own_params_are_complete() -> None:
    params = YAML(typ="safe").load(PROJECT / "params.yaml")
    assert set(params) == Params.sections() - {"preset"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


def anchors(document: Path) -> set[str]:
    """What a link may name in a document: its headings, as GitHub writes them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_anchors_of_links_exist(document: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", document.read_text()):
        found = anchors(document.parent / target if target else document)
        assert anchor in found, f"{document.name} links to {target}#{anchor}"


def test_anchors_that_the_status_page_links_to_are_in_the_runbook() -> None:
    page = render_status(faulty_night(), "RUNBOOK")
    linked = set(re.findall(r'href="RUNBOOK#([^"]+)"', page))
    monitoring = (PROJECT / "docs" / "monitoring.md").read_text()
    documented = set(re.findall(r"`#(monitor-[a-z-]+)`", monitoring))
    assert linked | documented <= anchors(RUNBOOK)


def test_the_link_to_the_runbook_leads_there_from_where_the_page_is_published() -> None:
    params = YAML(typ="safe").load(PROJECT / "params.yaml")
    page = PROJECT / "published" / "status" / "status.html"
    assert (page.parent / params["monitor"]["runbook"]).resolve() == RUNBOOK


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_exist(document: Path) -> None:
    verbs = {verb for topic in VERBS.values() for verb in topic}
    text = document.read_text()
    assert set(re.findall(r"-m pipeline_steps ([a-z][a-z-]+)", text)) <= verbs
    for name in set(re.findall(r"-m pipeline_steps\.(\w+)", text)):
        assert (PROJECT / "pipeline_steps" / f"{name}.py").is_file(), name


def test_the_runbook_has_every_exit_code() -> None:
    table = RUNBOOK.read_text().partition("## Exit codes")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
    listed = {int(code) for row in rows for code in row.split(",")}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = {kind.exit_code for kind in kinds if issubclass(kind, errors.DiffRecError)}
    assert ours | {99, 130, 137, 143} == listed


def test_logs_of_airflow_that_are_named_are_written() -> None:
    code = "".join(path.read_text() for path in (PROJECT / "scripts").glob("*.py"))
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"`\.airflow/([\w-]+\.log)`", document.read_text())
    }
    assert named
    for name in named:
        assert f'"{name}"' in code, name


def test_operations_md_has_every_variable() -> None:
    table = (PROJECT / "docs" / "operations.md").read_text().partition("## Variables")[2]
    listed = set(re.findall(r"^\| `(\w+)` \|", table.partition("\n## ")[0], re.MULTILINE))
    files = [*(PROJECT / "dags").rglob("*.py"), *(PROJECT / "pipeline_steps").rglob("*.py")]
    code = "".join(path.read_text() for path in files)
    assert set(Variable) == set(re.findall(r"\bDIFFREC_[A-Z_]+\b", code))
    assert listed == {*Variable, "MLFLOW_TRACKING_URI"}


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"`make ([a-z-]+)", document.read_text()))
        assert named <= targets, f"{document.name} names {named - targets}"


MODELS = (PROJECT / "docs" / "models.md").read_text()
CODE_SPANS = sorted(set(re.findall(r"`([^`\n]+)`", MODELS)))
CODE_LINKS = sorted(set(re.findall(r"\[`([\w.]+)`\]\(\.\./([\w/]+)\.py\)", MODELS)))
OPTIONS = {
    "## Options of DiffRec": DiffRecConfig,
    "## Recency": RecencyConfig,
    "## Denoising training": DenoisingConfig,
    "Keys of `train.lightgcn`": LightGCNConfig,
    "Keys of `train.mult_vae`": MultVaeConfig,
    "Keys of `train.sasrec`": SasRecConfig,
    "Keys of `train.irgan`": IrganConfig,
    "Keys of `cluster_items`": ClusteringConfig,
}


@pytest.mark.parametrize(("name", "module"), CODE_LINKS)
def test_code_that_models_md_links_to_exists(name: str, module: str) -> None:
    found: object = importlib.import_module(module.replace("/", "."))
    for part in name.split(".") if not name.endswith(".py") else []:
        found = getattr(found, part)


def test_keys_of_params_in_models_md_exist() -> None:
    params = YAML(typ="safe").load(PROJECT / "params.yaml")
    keys = [key for key in CODE_SPANS if key.partition(".")[0] in Params.sections() and "." in key]
    for key in keys:
        if not key.endswith(".yaml"):
            lookup(params, key)


def test_paths_and_modules_in_models_md_exist() -> None:
    paths = [span for span in CODE_SPANS if re.fullmatch(r"[\w-]+(/[\w.-]+)+|\w+\.yaml", span)]
    for path in paths:
        assert (PROJECT / path).exists(), path


def options_of(opening: str) -> dict[str, str]:
    """Option and default of the tables that follow a text, up to the next section's."""
    after = MODELS.partition(opening)[2]
    end = re.search(r"^(## |Keys of )", after, re.MULTILINE)
    rows = re.findall(
        r"^\| ((?:`\w+`(?:, )?)+) \| (.+?) \| ", after[: end.start() if end else None], re.MULTILINE
    )
    return {name: default for names, default in rows for name in re.findall(r"\w+", names)}


@pytest.mark.parametrize(("opening", "model"), OPTIONS.items(), ids=lambda value: str(value)[:20])
def test_models_md_has_every_option_with_its_default(opening: str, model: type[Config]) -> None:
    options = options_of(opening)
    fields = model().model_dump(mode="json")
    assert set(options) == set(fields)
    for name, default in options.items():
        if default not in {"see below", "as above"}:
            assert YAML(typ="safe").load(default.strip("`")) == fields[name], name


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_in_models_md_and_in_params_yaml(kind: str) -> None:
    trained = YAML(typ="safe").load(PROJECT / "params.yaml")["train"].values()
    assert f"`{kind}`" in MODELS
    assert kind in {section["kind"] for section in trained}


def test_models_md_has_the_options_of_every_baseline_with_their_defaults() -> None:
    table = MODELS.partition("## Baselines")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| .+? \| (.+) \| .+ \|$", table, re.MULTILINE)
    for kind, cell in rows:
        options = dict(re.findall(r"`(\w+)` `([^`]+)`", cell))
        fields = implementation(kind).Config().model_dump(mode="json")
        assert set(options) == set(fields) - {"kind", "recency"}, kind
        for name, default in options.items():
            assert YAML(typ="safe").load(default) == fields[name], (kind, name)


PROMOTION = (PROJECT / "docs" / "promotion.md").read_text()


def test_promotion_md_has_every_option_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| ", PROMOTION, re.MULTILINE)
    fields = GateConfig().model_dump(mode="json") | GuardsConfig().model_dump(mode="json")
    del fields["guards"]
    assert [name for name, _ in rows] == list(fields)
    for name, default in rows:
        assert YAML(typ="safe").load(default) == fields[name], name


def test_contest_md_has_every_option_with_its_default() -> None:
    text = (PROJECT / "docs" / "contest.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| ", text, re.MULTILINE)
    fields = ContestConfig().model_dump(mode="json")
    assert [name for name, _ in rows] == list(fields)
    for name, default in rows:
        assert YAML(typ="safe").load(default) == fields[name], name


def test_own_params_of_the_gate_are_its_defaults() -> None:
    params = YAML(typ="safe").load(PROJECT / "params.yaml")
    assert load_section(params, "gate", GateConfig) == GateConfig()


def test_formulas_hold_nothing_that_markdown_would_change() -> None:
    blocks = re.findall(r"\$\$([^$]+)\$\$", MODELS)
    formulas = re.findall(r"\$([^$]+)\$", re.sub(r"\$\$[^$]+\$\$", "", MODELS))
    assert not [formula for formula in formulas if "\n" in formula]
    for formula in (
        formulas + blocks
    ):  # an escape of punctuation; an underscore that may begin emphasis
        assert not re.search(r"\\[^a-zA-Z]|[^\w\\]_|\*", formula), formula


def test_tables_of_metrics_are_those_of_the_registry() -> None:
    text = metric_tables.DOCUMENT.read_text(encoding="utf-8")
    assert metric_tables.with_tables(text) == text, "run `python -m scripts.metric_tables`"
