"""What is compared with what, and the targets.

Settings of models are those of the presets, which are the DiffRec authors' own.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks._catalogue import catalogue
from benchmarks._comparison import (
    Comparison,
    Group,
    Reading,
    SidesLaps,
    SideSpec,
    total_seconds,
)
from benchmarks._laps import Lap
from benchmarks._large import large
from benchmarks._lightgcn import lightgcn
from benchmarks._specs import (
    NOT_MEASURED,
    PRECISIONS,
    SCHEDULE_EPOCHS,
    TRAIN_EPOCHS,
    Others,
    authors,
    missing_units,
    ours,
    recbole,
)

_EMBEDDING = 10
"""Width of the timestep embedding, which the first layer takes beside the items."""
_THREE_DECIMALS = 0.0005


def groups(others: Others, repeats: int) -> list[Group]:
    """All comparisons."""
    on_ml1m = [_diffrec_training, _diffrec_evaluation, _diffrec_schedule]
    on_ml1m += [_l_diffrec_training, _l_diffrec_evaluation]
    return [
        *(make(others, repeats) for make in on_ml1m),
        *lightgcn(others, repeats),
        catalogue("diffrec", 6.0, clusters=0),
        catalogue("l_diffrec", 4.0, clusters=2),
        _kmeans(others, repeats),
        large(),
    ]


def _faster(
    case: str, sides: dict[str, str], targets: tuple[float, float], **more: Any
) -> list[Comparison]:
    """Comparisons of both precisions with each of `sides`, the first of which has targets."""
    return [
        Comparison(
            f"{case}.{precision}",
            against,
            Reading(precision),
            (Reading(side),),
            target=targets[position] if side == "authors" else None,
            **more,
        )
        for position, precision in enumerate(PRECISIONS)
        for side, against in sides.items()
    ]


_PEERS = {"authors": "authors", "recbole": "RecBole"}


def _diffrec_training(others: Others, repeats: int) -> Group:
    case, name = "diffrec.train_epoch", "diffrec"
    size = {
        "users": others.users,
        "items": others.items,
        "batch": 400,
        "hidden_dims": [200, 600],
        "extra": _EMBEDDING,
    }
    sides = {
        **ours("train_epoch", others, name),
        "authors": authors(others, name, "train_epoch"),
        "no workers": authors(others, name, "train_epoch", workers=0),
        "recbole": recbole(others, name, "train_epoch"),
        **{
            f"products {p}": SideSpec(
                "benchmarks._limits:train_step",
                {**size, "precision": p},
                missing=missing_units(p),
            )
            for p in PRECISIONS
        },
        "draws": SideSpec("benchmarks._limits:draws", size),
    }
    comparisons = _faster(
        case, {**_PEERS, "no workers": "authors, loader without workers"}, (1.8, 3.5)
    )
    for precision in PRECISIONS:
        products = Reading(f"products {precision}")
        of = partial(Comparison, f"{case}.{precision}", ours=Reading(precision), wanted="less")
        comparisons += [
            of(against="products, loss, AdamW alone", other=(products,)),
            of(
                against="those and noise, masks",
                other=(products, Reading("draws")),
                target=1.15 if precision == "float32" else None,
            ),
        ]
    return Group(sides, comparisons, max(repeats, 7))


def _diffrec_evaluation(others: Others, repeats: int) -> Group:
    return _evaluation("diffrec", others, repeats, (4.5, 8.0))


def _l_diffrec_evaluation(others: Others, repeats: int) -> Group:
    return _evaluation("l_diffrec", others, repeats, (2.5, 4.0))


def _evaluation(name: str, others: Others, repeats: int, targets: tuple[float, float]) -> Group:
    case = f"{name}.evaluate"
    sides = {
        **ours("evaluate", others, name, train_epochs=TRAIN_EPOCHS),
        "authors": authors(others, name, "evaluate"),
        "recbole": recbole(others, name, "evaluate"),
    }
    comparisons = _faster(case, _PEERS, targets)
    comparisons.append(
        Comparison(
            f"{case}.bfloat16",
            "recall, ndcg of float32",
            Reading("bfloat16", _largest_difference),
            _THREE_DECIMALS,
            wanted="less",
            target=1.0,
            unit="metric",
            note=_both_metrics,
        )
    )
    return Group(sides, comparisons, repeats)


def _differences(laps: Sequence[Lap], kinds: tuple[str, ...]) -> dict[str, float]:
    """Of each metric of these kinds from that of float32, with the same weights."""
    facts, exact = laps[-1].facts, "float32 "
    return {
        name: abs(float(facts[name]) - float(facts[exact + name]))
        for name in facts
        if exact + name in facts and name.startswith(kinds)
    }


def _largest_difference(laps: Sequence[Lap]) -> float:
    return max(_differences(laps, ("recall", "ndcg")).values())


def _both_metrics(laps: SidesLaps) -> str:
    facts, all_kinds = laps["bfloat16"][-1].facts, ("recall", "ndcg", "precision", "mrr", "hit")
    both = [f"{n} {facts[n]:.5f} for {facts[f'float32 {n}']:.5f}" for n in ("recall@20", "ndcg@20")]
    differences = _differences(laps["bfloat16"], all_kinds)
    worst = max(differences, key=differences.__getitem__)
    return f"{', '.join(both)}; of all metrics at most {differences[worst]:.5f}, in {worst}"


def _diffrec_schedule(others: Others, repeats: int) -> Group:
    """A training of so many epochs, whatever the validations say, beside the authors' loop.

    Theirs scores test, too, at every validation. What that takes is told apart.
    """
    sides = {
        **ours("schedule", others, "diffrec", epochs=SCHEDULE_EPOCHS),
        "authors": authors(others, "diffrec", "schedule"),
    }
    comparisons = []
    for precision, target in zip(PRECISIONS, (4.5, 8.0), strict=True):
        case = f"diffrec.{SCHEDULE_EPOCHS}_epochs.{precision}"
        of = partial(Comparison, case, ours=Reading(precision, total_seconds))
        both = "theirs scores test at every validation, as their code does, ours at the end alone"
        comparisons += [
            of(
                against="authors",
                other=(Reading("authors", total_seconds),),
                target=target,
                note=partial(_qualities, precision, both),
            ),
            of(
                against="authors, validation alone",
                other=(Reading("authors", _without_test),),
                note=partial(_qualities, precision, "without their scorings of test"),
            ),
        ]
    return Group(sides, comparisons, SCHEDULE_EPOCHS // 5)


def _without_test(laps: Sequence[Lap]) -> float:
    return sum(lap.seconds - float(lap.facts["test seconds"]) for lap in laps)


def _qualities(ours: str, what: str, laps: SidesLaps) -> str:
    facts = (laps[side][-1].facts["recall@20"] for side in (ours, "authors"))
    return "test recall@20 {:.4f}, authors {:.4f}; ".format(*facts) + what


def _l_diffrec_training(others: Others, repeats: int) -> Group:
    name = "l_diffrec"
    sides = {
        **ours("train_epoch", others, name),
        "authors": authors(others, name, "train_epoch"),
        "no workers": authors(others, name, "train_epoch", workers=0),
        "recbole": recbole(others, name, "train_epoch"),
    }
    against = {**_PEERS, "no workers": "authors, loader without workers"}
    return Group(sides, _faster(f"{name}.train_epoch", against, (1.5, 4.0)), max(repeats, 7))


def _kmeans(others: Others, repeats: int) -> Group:
    settings = {"points": 100_000, "dim": 64, "clusters": 100, "iterations": 25}
    missing = "" if others.kmeans_pytorch else f"{NOT_MEASURED}: KMEANS_PYTORCH names no checkout"
    sides = {
        "ours": SideSpec("benchmarks._ours:kmeans", settings),
        "kmeans_pytorch": SideSpec(
            "benchmarks._peers:kmeans_pytorch",
            {**settings, "kmeans_pytorch": others.kmeans_pytorch},
            most_laps=1,
            missing=missing,
        ),
    }
    of: Callable[..., Comparison] = partial(Comparison, "kmeans", ours=Reading("ours"))
    comparisons = [
        of(against="target", other=1.0, wanted="less", target=1.0),
        of(against="kmeans_pytorch", other=(Reading("kmeans_pytorch"),)),
    ]
    return Group(sides, comparisons, repeats)
