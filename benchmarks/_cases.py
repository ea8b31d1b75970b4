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
    median_seconds,
    total_seconds,
)
from benchmarks._laps import Lap
from benchmarks._large import large
from benchmarks._specs import (
    NO_DATA,
    PRECISIONS,
    SCHEDULE_EPOCHS,
    TRAIN_EPOCHS,
    Others,
    authors,
    missing_units,
    ours,
    recbole,
    settings_of,
)

_EMBEDDING = 10
"""Width of the timestep embedding, which the first layer takes beside the items."""
_LIGHTGCN_LEVEL, _RECBOLE_EPOCHS, _RECBOLE_SECONDS = 0.1373, 30, 756.0
"""RecBole's test recall@20 after so many epochs, and how long those took on two cores."""
_THREE_DECIMALS = 0.0005


def groups(others: Others, repeats: int) -> list[Group]:
    """All comparisons."""
    on_ml1m = [_diffrec_training, _diffrec_evaluation, _diffrec_schedule]
    on_ml1m += [_l_diffrec_training, _l_diffrec_evaluation, _lightgcn]
    return [
        *(make(others, repeats) for make in on_ml1m),
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
    sides = {
        **ours("schedule", others, "diffrec", epochs=SCHEDULE_EPOCHS),
        "authors": authors(others, "diffrec", "schedule"),
    }
    comparisons = [
        Comparison(
            f"diffrec.to_early_stopping.{precision}",
            "authors",
            Reading(precision, total_seconds),
            (Reading("authors", total_seconds),),
            target=target,
            note=partial(_qualities, precision),
        )
        for precision, target in zip(PRECISIONS, (4.5, 8.0), strict=True)
    ]
    return Group(sides, comparisons, SCHEDULE_EPOCHS // 5)


def _qualities(ours: str, laps: SidesLaps) -> str:
    facts = (laps[side][-1].facts["recall@20"] for side in (ours, "authors"))
    return "test recall@20 {:.4f}, authors {:.4f}".format(*facts)


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


def _lightgcn(others: Others, repeats: int) -> Group:
    model = settings_of("lightgcn")
    del model["kind"]
    model["epochs"] = _RECBOLE_EPOCHS
    settings = {"data": others.data, "model": model, "recall@20": _LIGHTGCN_LEVEL}
    sides = {
        "ours": SideSpec(
            "benchmarks._ours:lightgcn", settings, missing="" if others.data else NO_DATA
        ),
        "recbole": recbole(others, "lightgcn", "train_epoch", most_laps=1),
    }
    case = partial(Comparison, "lightgcn", ours=Reading("ours"), target=10.0)
    measured = case(
        against="RecBole",
        other=(Reading("recbole", lambda laps: _RECBOLE_EPOCHS * median_seconds(laps)),),
        note=lambda laps: f"{_reached(laps)}; RecBole: one epoch, times {_RECBOLE_EPOCHS}",
    )
    quoted = case(
        against="RecBole, quoted",
        other=_RECBOLE_SECONDS,
        note=lambda laps: f"{_reached(laps)}; RecBole: quoted, not measured in this run",
    )
    return Group(sides, [measured if others.recbole else quoted], min(repeats, 3))


def _reached(laps: SidesLaps) -> str:
    facts = laps["ours"][-1].facts
    return f"test recall@20 {facts['recall@20']:.4f} after {facts['epochs']} epochs"


def _kmeans(others: Others, repeats: int) -> Group:
    settings = {"points": 100_000, "dim": 64, "clusters": 100, "iterations": 25}
    missing = "" if others.kmeans_pytorch else "not measured: KMEANS_PYTORCH names no checkout"
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
