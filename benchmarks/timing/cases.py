"""What is compared with what, and the targets. Settings of models are the DiffRec authors' own."""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any, Final, NamedTuple

import torch

from benchmarks import diffrec_authors
from benchmarks.processes import SideFunction
from benchmarks.results import Row
from benchmarks.settings import model_settings
from benchmarks.timing import limits, ours, synthetic
from benchmarks.timing.comparisons import NOT_MEASURED, SideSpec, Turns, compare
from diffrec_core.nn.precision import has_bfloat16_units

PRECISIONS: Final = ("float32", "bfloat16")


class Available(NamedTuple):
    """The folder of the split and the authors' checkout, empty if there is none; laps of a side."""

    data: str = ""
    reference: str = ""
    repeats: int = 5


def all_cases() -> dict[str, Callable[[Available], list[Row]]]:
    """Every case by name; calling one measures its rows."""
    return {
        "diffrec.train_epoch": partial(_train_epoch, "diffrec", (1.8, 3.5)),
        "diffrec.evaluate": partial(_evaluate, "diffrec", (4.5, 8.0)),
        "l_diffrec.train_epoch": partial(_train_epoch, "l_diffrec", (1.5, 4.0)),
        "l_diffrec.evaluate": partial(_evaluate, "l_diffrec", (2.5, 4.0)),
        "catalogue.diffrec": partial(_catalogue, "diffrec", 6.0),
        "catalogue.l_diffrec": partial(_catalogue, "l_diffrec", 4.0),
        "evaluation.large": _large_evaluation,
        "lightgcn.propagation": _propagation,
    }


def _train_epoch(name: str, targets: Sequence[float], available: Available) -> list[Row]:
    """An epoch, beside the authors' and the machine's limits for DiffRec's products."""
    turns, rows = Turns(epoch_sides(name, available), available.repeats), []
    for precision, target in zip(PRECISIONS, targets, strict=True):
        row = partial(compare, turns, f"{name}.train_epoch.{precision}", ours=precision)
        rows.append(row("authors", other="authors", target=target))
        rows.append(row("authors, loader without workers", other="no workers"))
        if name == "diffrec":
            against, most = "products, loss, AdamW, noise and masks alone", {"float32": 1.15}
            limit = partial(row, against, other=f"limit {precision}", is_limit=True)
            rows.append(limit(target=most.get(precision)))
    return rows


def _evaluate(name: str, targets: Sequence[float], available: Available) -> list[Row]:
    """Ranking and measuring all users, after some epochs of training."""
    functions = (ours.evaluate, diffrec_authors.evaluate)
    turns = Turns(_sides(name, available, *functions, train_epochs=5), available.repeats)
    return [
        compare(turns, f"{name}.evaluate.{p}", "authors", p, "authors", target=target)
        for p, target in zip(PRECISIONS, targets, strict=True)
    ]


def epoch_sides(name: str, available: Available) -> dict[str, SideSpec]:
    """The sides of a training epoch."""
    functions = (ours.train_epoch, diffrec_authors.train_epoch)
    sides = _sides(name, available, *functions)
    function, settings, missing = sides["authors"]
    sides["no workers"] = SideSpec(function, {**settings, "workers": 0}, missing)
    if name == "diffrec":
        for p in PRECISIONS:
            sides[f"limit {p}"] = sides[p]._replace(function=limits.train_step)
    return sides


def _sides(
    name: str, available: Available, our: SideFunction, their: SideFunction, **settings: int
) -> dict[str, SideSpec]:
    """A model of ours in both precisions, and the authors'."""
    model = partial(model_settings, name, "ml-1m-clean")
    common = {"data": available.data, "name": name, "seed": 1, **settings}
    no_data = "" if available.data else f"{NOT_MEASURED}: DIFFREC_BENCH_DATA names no data"
    no_checkout = "" if available.reference else f"{NOT_MEASURED}: REFERENCE names no checkout"
    more = {"model": model(), "reference": available.reference, "workers": 4}  # as in their code
    return {
        "authors": SideSpec(their, {**common, **more}, no_data or no_checkout),
        **{
            p: SideSpec(our, {**common, "model": model(precision=p)}, no_data or missing_units(p))
            for p in PRECISIONS
        },
    }


def missing_units(precision: str) -> str:
    """The note of rows in a precision that this CPU would have to emulate; else empty."""
    if precision == "bfloat16" and not has_bfloat16_units(torch.device("cpu")):
        return f"{NOT_MEASURED}: this CPU has no bfloat16 instructions"
    return ""


def _catalogue(name: str, most_gb: float, available: Available) -> list[Row]:
    """Amazon-book's shape: some steps and some users, beside their arithmetic; and memory."""
    shape, steps, epochs, users = synthetic.AMAZON_BOOK, 4, 4, 1000
    limited = {"epochs": epochs, "validate_every_epochs": epochs, "patience_epochs": epochs}
    model = model_settings(name, "amazon-book-clean", precision="float32", **limited)
    batch = model["batch_size"]
    settings = {"shape": shape, "model": model, "steps": steps, "users": users}
    sides = {
        "ours": SideSpec(ours.catalogue, settings),
        "products": SideSpec(limits.products, {"model": model, "items": shape.items}),
    }
    turns = Turns(sides, 2 * epochs)  # of which half are evaluations
    training, scoring = flops_per_user(model, shape.items)

    def phase(turns: Turns, name: str) -> float:
        return median(lap.seconds for lap in turns.laps("ours") if lap.facts["phase"] == name)

    def seconds_per_flop(turns: Turns) -> float:
        return turns.seconds("products") / float(turns.laps("products")[0].facts["flops"])

    case, least = f"catalogue.{name}", "its products' arithmetic"
    limit, scale = partial(compare, turns, is_limit=True), -(-shape.users // batch) / steps
    return [
        limit(
            f"{case}.train_epoch",
            least,
            lambda turns: scale * phase(turns, "train"),
            lambda turns: training * shape.users * seconds_per_flop(turns),
        ),
        limit(
            f"{case}.evaluate_1000_users",
            least,
            lambda turns: phase(turns, "evaluate"),
            lambda turns: scoring * users * seconds_per_flop(turns),
        ),
        _memory(turns, f"{case}.memory", most_gb * 1e9 / 2**20),
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
    functions = {"ours": ours.evaluate_large, "scores": ours.scores_and_top_k}
    turns = Turns({name: SideSpec(side, settings) for name, side in functions.items()}, 1)
    seconds, against = "evaluation.large.seconds", "its scores and torch.topk alone"
    return [
        compare(turns, seconds, against, "ours", "scores", is_limit=True, target=1.5),
        _memory(turns, "evaluation.large.memory", 1200.0),
    ]


def _propagation(available: Available) -> list[Row]:
    """LightGCN's layers at MovieLens-1M's size, beside the gradient that autograd forms."""
    sides = {
        by: SideSpec(ours.propagation, {"shape": synthetic.MOVIELENS_1M, "by": by})
        for by in ("ours", "autograd")
    }
    turns = Turns(sides, available.repeats)
    return [compare(turns, "lightgcn.propagation", "autograd", "ours", "autograd", target=2.0)]


def _memory(turns: Turns, case: str, most_mib: float) -> Row:
    limit = partial(compare, is_limit=True, target=1.0, unit="MiB")
    return limit(turns, case, "target", lambda turns: turns.peak_mib("ours"), most_mib)
