"""The time spans of the parts, drawn to scale."""

from datetime import UTC, datetime

from diffrec_core.report.timeline import Span, draw_spans, split_timeline
from tests.unit.report.drawn import rows, texts
from tests.unit.report.runs import PARTS


def test_it_tells_whether_the_parts_overlap():
    apart = split_timeline(PARTS)
    assert apart.finding == "The parts follow one another in time."
    assert "train 1997-09-20 to 1998-01-10, 3,700 interactions, 50 users" in apart.panels[0].label
    early = {**PARTS["test"], "first": "1997-10-01T00:00:00+00:00"}
    together = split_timeline({**PARTS, "test": early})
    assert together.finding.startswith("The spans overlap")


def test_bars_lie_where_their_times_are():
    def day(number: int) -> datetime:
        return datetime(2024, 1, number, tzinfo=UTC)

    spans = [Span("train", day(1), day(11), "ten days"), Span("test", day(11), day(21), "")]
    figure = draw_spans(spans)
    (axes,) = figure.axes
    train, test = axes.patches
    ten_days = 10 * 86_400
    assert (train.get_x(), train.get_width()) == (0, ten_days)
    assert (test.get_x(), test.get_width()) == (ten_days, ten_days)
    assert axes.get_xlim() == (0, 2 * ten_days)
    assert rows(axes) == ["train", "test"]
    assert {"2024-01-01", "2024-01-11", "2024-01-21", "ten days"} <= set(texts(figure))


def test_an_instant_is_still_seen():
    time = datetime(2024, 1, 1, tzinfo=UTC)
    (axes,) = draw_spans([Span("train", time, time, "")]).axes
    assert axes.patches[0].get_width() / axes.get_xlim()[1] > 0.005
