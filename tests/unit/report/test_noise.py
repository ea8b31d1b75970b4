"""What noise costs: hand-computed losses, and what the pictures show of them."""

from xml.etree import ElementTree

import pytest

from diffrec_core.report.noise import Drop, NoiseResult, drops, noise_figure, noise_picture
from tests.unit.report.drawn import points, rows, texts

ROWS = [
    NoiseResult("ease", "none", 0.0, 0, 0.40, 0.20),
    NoiseResult("ease", "none", 0.0, 1, 0.50, 0.25),
    NoiseResult("ease", "random", 0.5, 0, 0.20, 0.15),  # half, a quarter
    NoiseResult("ease", "random", 0.5, 1, 0.35, 0.25),  # 30 %, nothing
    NoiseResult("ease", "random", 0.1, 0, 0.36, 0.22),  # 10 %, grew by 10 %
    NoiseResult("ease", "natural", 0.7, 0, 0.30, 0.10),
    NoiseResult("diffrec", "none", 0.0, 0, 0.40, 0.20),
    NoiseResult("diffrec", "random", 0.5, 0, 0.40, 0.20),
]


def test_losses_are_relative_to_the_clean_fit_of_the_same_seed() -> None:
    recall = drops(ROWS, "ease", "random", "recall@20")
    assert [d.share for d in recall] == [0.1, 0.5]
    assert recall[0] == Drop(0.1, pytest.approx(0.1), 0.0)
    assert recall[1].mean == pytest.approx(0.4)  # of .5 and .3
    assert recall[1].spread == pytest.approx(0.1414, abs=1e-4)  # sample standard deviation
    assert drops(ROWS, "ease", "random", "ndcg@20")[0].mean == pytest.approx(-0.1)
    assert drops(ROWS, "ease", "natural", "recall@20")[0].mean == pytest.approx(0.25)
    assert drops(ROWS, "diffrec", "natural", "recall@20") == []


def test_every_model_has_a_curve_with_bars_in_each_panel() -> None:
    figure = noise_figure(ROWS)
    recall, ndcg, key = (panel.drawing.axes[0] for panel in figure.panels)
    ease, natural, diffrec = (points(line) for line in recall.lines if len(line.get_xdata()))
    assert ease == [(0, 0), (0.1, pytest.approx(0.1)), (0.5, pytest.approx(0.4))]
    assert diffrec == [(0, 0), (0.5, 0)]
    assert natural[0] == (pytest.approx(0.575, abs=0.01), pytest.approx(0.25))  # beside the levels
    (bar,) = recall.collections[0].get_segments()[-1:]
    assert bar[:, 1] == pytest.approx([0.4 - 0.1414, 0.4 + 0.1414], abs=1e-4)
    assert len(ndcg.lines) == len(recall.lines)
    assert rows(key) == ["ease", "diffrec"]
    looks = [(line.get_color(), line.get_linestyle()) for line in key.lines]
    assert looks == [(line.get_color(), line.get_linestyle()) for line in recall.lines[::2]]
    assert {"natural", "random pairs added", "40%"} <= set(texts(figure.panels[0].drawing))


def test_it_tells_the_loss_at_the_highest_level_of_each_kind() -> None:
    clean = [NoiseResult(name, "none", 0.0, 0, 0.2, 0.1) for name in ("ease", "slim")]
    noisy = [
        NoiseResult("ease", "random", 0.5, 0, 0.15, 0.1),
        NoiseResult("slim", "random", 0.5, 0, 0.18, 0.1),
        NoiseResult("ease", "natural", 0.2, 0, 0.21, 0.1),
    ]
    figure = noise_figure([*clean, *noisy])
    assert figure.finding == (
        "With 50% of random pairs added, recall@20 loses: ease 25%, slim 10%. slim loses "
        "the least. With 20% of natural noise added, recall@20 loses: ease -5%."
    )
    titles = [panel.title for panel in figure.panels]
    assert titles == ["recall@20, share lost", "ndcg@20, share lost", "Models"]


def test_natural_noise_alone_is_drawn() -> None:
    figure = noise_figure([row for row in ROWS if row.noise != "random"])
    assert figure.finding == "With 70% of natural noise added, recall@20 loses: ease 25%."


def test_clean_fits_alone_are_a_file_that_says_so() -> None:
    assert noise_figure([]).panels == []
    assert "not measured" in noise_picture(ROWS[:2])
    root = ElementTree.fromstring(noise_picture(ROWS))  # noqa: S314  # our own text
    assert "ease" in "".join(root.itertext())
