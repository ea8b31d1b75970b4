"""The comparisons and their targets. Settings of models are the DiffRec authors' own."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any, Final, NamedTuple

import torch

from benchmarks import diffrec_authors
from benchmarks.processes import Lap, Settings, Side, in_own_process, take_turns
from benchmarks.results import Row
from benchmarks.settings import model_settings
from benchmarks.timing import limits, ours, synthetic
from diffrec_core.nn.precision import has_bfloat16_units

log = logging.getLogger("pipeline")

PRECISIONS: Final = ("float32", "bfloat16")

Sides = dict[str, tuple[Side, Settings]]


class Available(NamedTuple):
    """The folder of the split and the authors' checkout, empty if there is none; laps of a side."""

    data: str = ""
    reference: str = ""
    repeats: int = 5


def all_cases() -> dict[str, Callable[[Available], list[Row]]]:
    """Every case by name; calling one measures the rows whose requirements are there."""
    return {
        "diffrec.train_epoch": partial(_train_epoch, "diffrec", (1.8, 3.5)),
        "diffrec.evaluate": partial(_evaluate, "diffrec", (4.5, 8.0)),
        "l_diffrec.train_epoch": partial(_train_epoch, "l_diffrec", (1.5, 4.0)),
        "l_diffrec.evaluate": partial(_evaluate, "l_diffrec", (2.5, 4.0)),
        "catalogue.diffrec": partial(_catalogue, "diffrec", 6.0),
        "catalogue.l_diffrec": partial(_catalogue, "l_diffrec", 4.0),
        "evaluation.large": _large_evaluation,
        "lightgcn.propagation": _propagation,
        "sasrec.epoch": _sasrec_epoch,
    }


def compare(
    case: str,
    against: str,
    ours: float,
    other: float,
    *,
    is_limit: bool = False,
    target: float | None = None,
    unit: str = "s",
) -> Row:
    """Compare a number of ours with another one.

    The ratio is ours / other for a limit, and to be at most `target`; else other / ours, and to be
    at least `target`.
    """
    ratio = ours / other if is_limit else other / ours
    goal, met = "", None
    if target is not None:
        goal = f"{'≤' if is_limit else '≥'} {target:g}"
        met = ratio <= target if is_limit else ratio >= target
    numbers = {"ratio": ratio, "ours": ours, "other": other}
    digits = {name: float(f"{value:.5g}") for name, value in numbers.items()}
    return {"case": case, "against": against, "target": goal, "met": met, "unit": unit, **digits}


def _train_epoch(name: str, targets: Sequence[float], available: Available) -> list[Row]:
    """An epoch, beside the authors' and the machine's limits for DiffRec's products."""
    laps, rows = take_turns(epoch_sides(name, available), available.repeats), []
    for precision, target in zip(PRECISIONS, targets, strict=True):
        row = partial(_timed, laps, f"{name}.train_epoch.{precision}", precision)
        rows += row("authors", "authors", target=target)
        rows += row("no workers", "authors, loader without workers")
        against, most = "products, loss, AdamW, noise and masks alone", {"float32": 1.15}
        rows += row(f"limit {precision}", against, is_limit=True, target=most.get(precision))
    return rows


def _evaluate(name: str, targets: Sequence[float], available: Available) -> list[Row]:
    """Ranking and measuring all users, after some epochs of training."""
    functions = (ours.evaluate, diffrec_authors.evaluate)
    laps = take_turns(_sides(name, available, *functions, train_epochs=5), available.repeats)
    rows = []
    for precision, target in zip(PRECISIONS, targets, strict=True):
        case = f"{name}.evaluate.{precision}"
        rows += _timed(laps, case, precision, "authors", "authors", target=target)
    return rows


def _timed(
    laps: Mapping[str, Sequence[Lap]], case: str, ours: str, other: str, against: str, **how: Any
) -> list[Row]:
    """The comparison of two sides' seconds; nothing if one of them was not started."""
    if not {ours, other} <= laps.keys():
        return []
    return [compare(case, against, _seconds(laps[ours]), _seconds(laps[other]), **how)]


def _seconds(laps: Sequence[Lap]) -> float:
    return median(lap.seconds for lap in laps)


def epoch_sides(name: str, available: Available) -> Sides:
    """The sides of a training epoch."""
    sides = _sides(name, available, ours.train_epoch, diffrec_authors.train_epoch)
    if "authors" in sides:
        function, settings = sides["authors"]
        sides["no workers"] = (function, {**settings, "workers": 0})
    if name == "diffrec":
        for p in PRECISIONS:
            if p in sides:
                sides[f"limit {p}"] = (limits.train_step, sides[p][1])
    return sides


def _sides(name: str, available: Available, our: Side, their: Side, **settings: int) -> Sides:
    """The authors' model and ours in both precisions, as far as their requirements are there."""
    sides: Sides = {}
    if not available.data:
        return sides
    model = partial(model_settings, name, "ml-1m-clean")
    common = {"data": available.data, "name": name, "seed": 1, **settings}
    if available.reference:
        theirs = {"reference": available.reference, "workers": 4}  # as many as in their code
        sides["authors"] = (their, {**common, **theirs, "model": model()})
    for p in PRECISIONS:
        if p == "bfloat16" and not has_bfloat16_units(torch.device("cpu")):
            log.warning("bfloat16 is not measured: this CPU has no bfloat16 instructions")
        else:
            sides[p] = (our, {**common, "model": model(precision=p)})
    return sides


def _catalogue(name: str, most_gb: float, available: Available) -> list[Row]:
    """Amazon-book's shape: some steps and some users, beside their arithmetic; and memory."""
    shape, steps, epochs, users = synthetic.AMAZON_BOOK, 4, 4, 1000
    limited = {"epochs": epochs, "validate_every_epochs": epochs, "patience_epochs": epochs}
    model = model_settings(name, "amazon-book-clean", precision="float32", **limited)
    measured = in_own_process(ours.catalogue, shape, model, steps, users)
    batch = model["batch_size"]
    products: Sides = {"products": (limits.products, {"model": model, "items": shape.items})}
    seconds = _seconds(take_turns(products, available.repeats)["products"])
    per_flop = seconds / (2.0 * batch * model["hidden_dims"][0] * shape.items)
    training, scoring = flops_per_user(model, shape.items)
    epoch = measured["train"] * -(-shape.users // batch) / steps
    case, limit = f"catalogue.{name}", partial(compare, is_limit=True)
    least, scored = "its products' arithmetic", f"{case}.evaluate_1000_users"
    return [
        limit(f"{case}.train_epoch", least, epoch, training * shape.users * per_flop),
        limit(scored, least, measured["evaluate"], scoring * users * per_flop),
        _memory(f"{case}.memory", measured["peak_mib"], most_gb * 1e9 / 2**20),
    ]


def flops_per_user(model: dict[str, Any], items: int) -> tuple[float, float]:
    """Operations for one user in training and in scoring, those of small products left out.

    DiffRec, with one hidden layer and dense noisy inputs: training has two products forward, two
    for the weights' gradients, one back to the hidden layer; scoring has T - 1 products in the
    hidden space, and one with all items. L-DiffRec: the decoder forward, and twice back.
    """
    if model["latent"]:
        decoder = 2.0 * model["encoder_dims"][-1] * items
        return 3.0 * decoder, decoder
    (hidden,) = model["hidden_dims"]
    return 10.0 * items * hidden, 2.0 * hidden * (items + (model["steps"] - 1) * hidden)


def _large_evaluation(available: Available) -> list[Row]:
    """100,000 users, every one of 50,000 items ranked, everything measured."""
    settings = {"shape": synthetic.Shape(100_000, 50_000, 3_000_000), "batch": 1024}
    sides: Sides = {
        "ours": (ours.evaluate_large, settings),
        "scores": (ours.scores_and_top_k, settings),
    }
    laps, against = take_turns(sides, 1), "its scores and torch.topk alone"
    seconds = partial(_timed, laps, "evaluation.large.seconds", "ours", "scores", against)
    return [
        *seconds(is_limit=True, target=1.5),
        _memory("evaluation.large.memory", laps["ours"][-1].peak_mib, 1200.0),
    ]


def _propagation(available: Available) -> list[Row]:
    """LightGCN's layers at MovieLens-1M's size, beside the gradient that autograd forms."""
    sides: Sides = {
        by: (ours.propagation, {"shape": synthetic.MOVIELENS_1M, "by": by})
        for by in ("ours", "autograd")
    }
    laps = take_turns(sides, available.repeats)
    return _timed(laps, "lightgcn.propagation", "ours", "autograd", "autograd", target=2.0)


def _sasrec_epoch(available: Available) -> list[Row]:
    """An epoch of SASRec with MovieLens-1M's items, with our loss and with a plain one."""
    sides: Sides = {
        by: (ours.sasrec_epoch, {"shape": (1_500, synthetic.MOVIELENS_1M.items, 150_000), "by": by})
        for by in ("ours", "autograd")
    }
    laps = take_turns(sides, available.repeats)
    return _timed(laps, "sasrec.epoch", "ours", "autograd", "autograd", target=1.1)


def _memory(case: str, peak_mib: float, most_mib: float) -> Row:
    return compare(case, "target", peak_mib, most_mib, is_limit=True, target=1.0, unit="MiB")
