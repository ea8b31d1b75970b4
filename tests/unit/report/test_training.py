"""Training curves: what is drawn and said is what was measured."""

import numpy as np
import pytest

from diffrec_core.report.svg import Panel
from diffrec_core.report.training import draw_training, training_curves
from tests.unit.report.drawn import points, texts
from tests.unit.report.runs import CURVE, make_model


def test_the_best_epoch_is_named_and_who_has_no_epochs():
    models = [make_model("net", 0.2, curve=CURVE), make_model("ease", 0.1)]
    figure = training_curves(models)
    assert figure is not None
    assert figure.finding == "net best 0.1700 in epoch 4 of 5. Without epochs: ease."
    (panel,) = figure.panels
    assert (panel.title, panel.remark) == ("net", "best 0.1700 in epoch 4 of 5")
    assert "Loss 4 in epoch 1, 2 in epoch 5." in panel.label


def test_without_any_curve_there_is_no_figure():
    assert training_curves([make_model("ease", 0.1)]) is None


def test_both_curves_are_drawn_over_the_same_epochs_with_the_best_one_marked():
    validation = [(2.0, 0.1), (4.0, 0.3), (6.0, 0.2)]
    losses = [(float(epoch), 10.0 - epoch) for epoch in range(1, 7)]
    above, below = draw_training(losses, validation, 0.4).axes
    line, mark, best = above.lines
    assert points(line) == validation
    assert points(mark) == [(4.0, 0.3)]
    assert best.get_xdata() == [4.0, 4.0]
    assert points(below.lines[1]) == losses
    assert above.get_xlim() == below.get_xlim() == (1, 6)
    assert above.get_ylim() == (0, 0.4)  # of all models


@pytest.mark.parametrize(
    ("losses", "validation"),
    [([(1.0, 2.0)], []), ([], [(1.0, 0.5)]), ([(1.0, 2.0)], [(1.0, 0.0)]), ([(0.0, 0.0)], [])],
)
def test_a_curve_may_be_one_point_or_lack_a_part(losses, validation):
    figure = draw_training(losses, validation, 0.0)
    assert {"validation recall", "loss"} <= set(texts(figure))
    assert "nan" not in Panel("", "", figure, "").inline


def test_a_long_noisy_curve_is_thinned_to_what_can_be_seen():
    noise = np.random.default_rng(3).uniform(size=20_000)
    losses = [(float(n + 1), 1 / (n + 1) + 0.01 * value) for n, value in enumerate(noise)]
    assert len(Panel("", "", draw_training(losses, [], 1.0), "").inline) < 60_000
