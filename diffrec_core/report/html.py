"""The report of a run as one HTML file: no network, no other file, equal bytes for equal inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffrec_core.report.data import BASELINE, ModelResult, ReportData
from diffrec_core.report.data_card import data_sentences, filter_table
from diffrec_core.report.facts import flatten, parts_table
from diffrec_core.report.slices import slice_table
from diffrec_core.report.style import template_environment
from diffrec_core.report.svg import ReportFigure
from diffrec_core.report.tables import beyond_table, detail_tables, main_table, write_p

_SHOWN_HISTORY = 15
_SHOWN_ITEMS = 10


def render_report(data: ReportData, figures: Mapping[str, ReportFigure]) -> str:
    """Write the report.

    Args:
        data: the run.
        figures: its figures, as `build_figures` gives them.

    Returns:
        The text of an HTML file; save it as UTF-8.
    """
    models = data.models
    return (
        template_environment()
        .get_template("page.html.j2")
        .render(
            data=data,
            created_from=list(flatten(data.created_from)),
            winner=models[0],
            lead=_lead(models, data),
            tiles=_tiles(models[0], data.headline),
            comparisons=_comparisons(models, data),
            leaderboard=main_table(data),
            certainty=_certainty(models, data),
            details=detail_tables(data),
            figures=[figure for name, figure in figures.items() if name != "timeline"],
            timeline=figures.get("timeline"),
            protocol=list(flatten({k: v for k, v in data.protocol.items() if k != "parts"})),
            parts=parts_table(data.protocol["parts"]),
            changes=data.changes,
            slice_table=slice_table(models, data.headline[0]),
            slice_caption=f"Test {data.headline[0]} by slice. The best of each is bold.",
            beyond_table=beyond_table(models, data.cutoff),
            data_sentences=data_sentences(data.data_card),
            filters=filter_table(data.data_card),
            data_card=[(stage, list(flatten(counts))) for stage, counts in data.data_card.items()],
            users=[_sample_user(user, models, data) for user in data.sample_histories],
        )
    )


def _lead(models: Sequence[ModelResult], data: ReportData) -> str:
    """The sentence after the winner's name."""
    value = f"{data.selected_on} {models[0].validation[data.metric]:.4f}"
    if len(models) == 1:
        return f"is the only model of this run: {value}."
    return f"was selected from {len(models)} models: {value}."


def _tiles(winner: ModelResult, metrics: Sequence[str]) -> list[tuple[str, str, str]]:
    """Label, value and remark of the numbers to read first."""
    return [
        (
            f"{part} {metric}",
            f"{winner.metrics(part)[metric]:.4f}",
            f"mean over {winner.metrics(part)['users']:,.0f} users",
        )
        for part in ("test", "validation")
        for metric in metrics
    ]


def _comparisons(models: Sequence[ModelResult], data: ReportData) -> list[str]:
    """Compare the winner with the runner-up and the baseline on the test part."""
    winner, others = models[0], models[1:]
    if not others:
        return []
    sentences = [_compared(winner, others[0], "the runner-up", data.headline)]
    if winner.name == BASELINE:
        sentences.append(
            f"It is the baseline: by {data.selected_on}, no model of this run is better than "
            f"recommending the most popular items."
        )
    for model in others[1:]:
        if model.name == BASELINE:
            sentences.append(_compared(winner, model, "the baseline", data.headline))
    return [*sentences, _significance(models, data)]


def _compared(winner: ModelResult, other: ModelResult, role: str, metrics: Sequence[str]) -> str:
    differences = " and ".join(
        f"{_difference(winner.test[metric], other.test[metric])} in {metric} "
        f"({winner.test[metric]:.4f} against {other.test[metric]:.4f})"
        for metric in metrics
    )
    return f"On the test part, compared with {role} {other.name}, it is {differences}."


def _significance(models: Sequence[ModelResult], data: ReportData) -> str:
    """List the models without a significant difference to the winner on the test part."""
    if not all("test" in model.certainty for model in models):
        return "Differences are of means over users; significance is not tested here."
    alike = [
        f"{model.name} (p {write_p(p)})"
        for model in models
        if (p := model.certainty["test"].p) is not None and not model.certainty["test"].differs
    ]
    return (
        f"By {data.metric} on the test part, the winner cannot be told apart from "
        f"{', '.join(alike)}."
        if alike
        else f"By {data.metric} on the test part, the winner can be told apart from every other "
        f"model."
    )


def _certainty(models: Sequence[ModelResult], data: ReportData) -> str:
    """Explain the small print of the leaderboard; empty where there is none."""
    if not all(model.certainty for model in models):
        return ""
    seeds = (
        ", and ± the standard deviation over the seeds that it is the mean over"
        if any(model.sd for model in models)
        else ""
    )
    return (
        f" Below a number, the interval that it is known to within{seeds}; by {data.metric}, "
        f"models with the same letter under group cannot be told apart from the best of them, and "
        f"p is that of the difference to the winner."
    )


def _difference(value: float, other: float) -> str:
    """Describe the difference of a value to another, relative to the other.

    >>> _difference(0.3, 0.2), _difference(0.1, 0.2), _difference(0.2, 0.2), _difference(0.1, 0)
    ('50.0% ahead', '50.0% behind', 'level', 'ahead')
    """
    if f"{value:.4f}" == f"{other:.4f}":
        return "level"
    direction = "ahead" if value > other else "behind"
    return f"{abs(value / other - 1):.1%} {direction}" if other else direction


def _sample_user(user: int, models: Sequence[ModelResult], data: ReportData) -> dict[str, Any]:
    """A user's history, newest first, and what each model recommends, with its hits."""
    history = [data.item_titles[item] for item in reversed(data.sample_histories[user])]
    return {
        "user_id": data.user_ids[user],
        "history": history[:_SHOWN_HISTORY],
        "older": len(history[_SHOWN_HISTORY:]),
        "models": [
            (
                model,
                [
                    (data.item_titles[item], hit)
                    for item, hit in model.top_items[user][:_SHOWN_ITEMS]
                ],
            )
            for model in models
        ],
    }
