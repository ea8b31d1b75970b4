"""How much worse models rank clean test data after training on noisy data, as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from markupsafe import Markup

from diffrec_core.report import svg
from diffrec_core.report.svg import Scale

# told apart by dashes too: colours return after the fourth
_DASHES = ("none", "7 3", "2 3", "none", "7 3", "none", "9 3 2 3", "2 3")
_COLOURS = (0, 1, 2, 3, 0, 1, 2, 3)
STYLES = len(_DASHES)
"""How many models can be told apart."""
CURVES = """.curve{stroke-width:2.2;stroke-linejoin:round}
.curve.bar{stroke-width:1.2;stroke-dasharray:none}
svg circle.curve{stroke:none!important}
""" + "\n".join(
    f".m{n}{{stroke:var(--c{c});stroke-dasharray:{d}}} circle.m{n}{{fill:var(--c{c})}}"
    for n, (c, d) in enumerate(zip(_COLOURS, _DASHES, strict=True))
)
"""CSS of the curves; the page gives the colours."""
_PANELS = ((64, 380), (470, 786))  # left and right edges
_WIDTH, _TOP, _BOTTOM = 860, 96, 330
METRICS = ("recall@20", "ndcg@20")


@dataclass(frozen=True, slots=True)
class Measured:
    """One fit.

    Attributes:
        model: its name.
        noise: `none`, `random` or `natural`.
        share: of noisy interactions, of the clean ones.
        seed: of noise and fit, from 0.
        recall, ndcg: at 20, on clean test data.
    """

    model: str
    noise: str
    share: float
    seed: int
    recall: float
    ndcg: float

    def value(self, metric: str) -> float:
        """One of `METRICS`."""
        return self.recall if metric == "recall@20" else self.ndcg


@dataclass(frozen=True, slots=True)
class Drop:
    """Relative loss at one level of noise: mean and standard deviation over seeds.

    Attributes:
        share: the level.
        mean: 0.1 where a tenth of the metric is lost; negative where it grew.
        spread: the sample standard deviation; 0 for one seed.
    """

    share: float
    mean: float
    spread: float


def drops(rows: Sequence[Measured], model: str, noise: str, metric: str) -> list[Drop]:
    """The loss of a model at every level of a noise, each seed against its own clean fit."""
    clean = {r.seed: r.value(metric) for r in rows if r.model == model and r.noise == "none"}
    levels: dict[float, list[float]] = {}
    for row in rows:
        if row.model == model and row.noise == noise and clean.get(row.seed):
            levels.setdefault(row.share, []).append(1 - row.value(metric) / clean[row.seed])
    return [
        Drop(share, mean(values), stdev(values) if len(values) > 1 else 0.0)
        for share, values in sorted(levels.items())
    ]


def drop_figure(rows: Sequence[Measured]) -> str:
    """Draw the loss of both metrics against the level of random noise, natural noise beside it."""
    models = list(dict.fromkeys(row.model for row in rows))
    parts = [svg.text(16, 24, "Loss on clean test data after training on noise", "strong")]
    for number, name in enumerate(models):
        x, style = 16 + 150 * number, f"m{number % STYLES}"
        parts.append(svg.line([(x, 46), (x + 30, 46)], f"curve {style}"))
        parts.append(svg.text(x + 36, 50, svg.clip(name, 15)))
    for (left, right), metric in zip(_PANELS, METRICS, strict=True):
        parts.append(svg.text(left, _TOP - 16, f"{metric}, share lost", "strong"))
        parts += _panel((left, right), (_TOP, _BOTTOM), metric, rows, models)
    width = max(_WIDTH, 32 + 150 * len(models))
    label = "Relative loss of recall and NDCG against the share of noisy interactions in training"
    return svg.document(width, _BOTTOM + 52, label, parts, CURVES)


def draw_panel(metric: str, rows: Sequence[Measured], models: Sequence[str], label: str) -> Markup:
    """Draw the loss of one metric by itself; the models' styles follow their order."""
    return svg.picture(400, 300, label, _panel((48, 392), (12, 254), metric, rows, models))


def _panel(
    edges: tuple[int, int],
    heights: tuple[int, int],
    metric: str,
    rows: Sequence[Measured],
    models: Sequence[str],
) -> list[Markup]:
    (left, right), (top, bottom) = edges, heights
    random = {model: drops(rows, model, "random", metric) for model in models}
    natural = {model: drops(rows, model, "natural", metric) for model in models}
    every = [drop for found in (random, natural) for model in models for drop in found[model]]
    ends = [edge for d in every for edge in (d.mean - d.spread, d.mean + d.spread)]
    x = Scale(0.0, max((d.share for m in models for d in random[m]), default=0.5), left, right - 46)
    y = Scale(min(0.0, *ends) if ends else 0.0, max(0.01, *ends) if ends else 1.0, bottom, top)
    parts = [
        svg.grid_x(x, top, bottom),
        svg.grid_y(y, left, right, "{:.0%}".format),
        svg.text((left + right - 46) / 2, bottom + 34, "random pairs added", "middle small"),
        svg.text(right - 16, bottom + 15, "natural", "middle small"),
    ]
    for number, model in enumerate(models):
        style = f"m{number % STYLES}"
        points = [(x(0.0), y(0.0)), *((x(d.share), y(d.mean)) for d in random[model])]
        parts.append(svg.line(points, f"curve {style}"))
        parts += [_bar(x(d.share), d, y, style) for d in random[model]]
        for drop in natural[model]:
            place = right - 16 + 8 * (number - (len(models) - 1) / 2)
            parts.append(_bar(place, drop, y, style))
            parts.append(svg.circle((place, y(drop.mean)), 4, f"curve {style}"))
    return parts


def _bar(x: float, drop: Drop, y: Scale, style: str) -> Markup:
    ends = [(x, y(drop.mean - drop.spread)), (x, y(drop.mean + drop.spread))]
    return svg.line(ends, f"curve bar {style}")
