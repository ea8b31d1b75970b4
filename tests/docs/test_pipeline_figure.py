"""README's picture of the pipeline is current, and shows the stages of dvc.yaml."""

from pathlib import Path

from ruamel.yaml import YAML

from docs.figures.pipeline import ARROWS, BOXES, FIGURE, draw


def test_the_committed_figure_is_current() -> None:
    assert FIGURE.read_text(encoding="utf-8") == draw(), "run python -m docs.figures.pipeline"


def test_boxes_are_stages_and_arrows_what_a_stage_reads_of_another(project_root: Path) -> None:
    stages = YAML(typ="safe").load(project_root / "dvc.yaml")["stages"]
    assert set(BOXES) == set(stages)
    for start, end in ARROWS:
        written, read = (
            stages[name].get("do", stages[name])[key]
            for name, key in ((start, "outs"), (end, "deps"))
        )
        made = {path for out in written for path in ([out] if isinstance(out, str) else out)}
        # a stage of every model reads `item.items`, and `select` the folder of all evaluations
        read = {"data/item_clusters" if path == "${item.items}" else path for path in read}
        assert any(out == path or out.startswith(f"{path}/") for out in made for path in read)
