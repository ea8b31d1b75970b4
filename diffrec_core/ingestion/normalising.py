"""The one step between the texts of a log and what they mean, the same for every format.

Ids and event types: blanks and invisible marks around them go, null markers are missing values,
and a whole number is written as one (`4711.0` and `4711` are the same customer). Upper and lower
case, leading zeros and Unicode forms stay as they are.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import polars as pl

TRIMMED: Final = "blanks around it removed"
MARKERS: Final = "null marker read as missing"
WHOLE: Final = "whole number written without a fraction"

_INVISIBLE: Final = "\ufeff\u200b\u2060"
_BLANKS: Final = (
    " \t\n\x0b\x0c\r\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    f"\u200a\u2028\u2029\u202f\u205f\u3000{_INVISIBLE}"
)
_CONTROL: Final = f"[\\p{{Cc}}{_INVISIBLE}]"
_NOT_PLAIN: Final = r"[^!-*,\-/-~]"
"""Anything but printable ASCII without blanks, points and plus signs, which need no second look."""

_FRACTION: Final = r"^(-?(?:0|[1-9][0-9]*))\.0+$"
_POWER: Final = r"^-?[0-9](?:\.[0-9]+)?[eE]\+[0-9]{1,2}$"
"""A large float as programs write it; without the plus sign it may be an id."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A column after the step.

    Attributes:
        texts: null where the value is missing.
        control: whether there is a control character left; None: nowhere.
        changes: how many values were changed, by what was done.
    """

    texts: pl.Series
    control: pl.Series | None
    changes: Counter[str]


def clean(texts: pl.Series, null_markers: Sequence[str]) -> Cleaned:
    """Normalise ids or event types."""
    column, markers = pl.col(texts.name), ["", "-0", *null_markers]
    odd = texts.to_frame().select(column.str.contains(_NOT_PLAIN) | column.is_in(markers))
    rows = odd.to_series().fill_null(value=False).arg_true()
    if rows.is_empty():
        return Cleaned(texts, None, Counter())
    before = texts.gather(rows)
    trimmed = before.str.strip_chars(_BLANKS)
    missing = trimmed.is_in(["", *null_markers])
    whole = _whole_numbers(trimmed)
    control = trimmed.str.contains(_CONTROL)
    after = pl.select(pl.when(~missing).then(whole)).to_series()
    changes = {
        TRIMMED: ((trimmed != before) & ~missing).sum(),
        MARKERS: (missing & (trimmed != "")).sum(),
        WHOLE: ((whole != trimmed) & ~missing).sum(),
    }
    found = Counter({name: count for name, count in changes.items() if count})
    everywhere = None
    if control.any():
        everywhere = pl.Series([False]).new_from_index(0, len(texts)).scatter(rows, control)
    return Cleaned(texts.clone().scatter(rows, after), everywhere, found)


def _whole_numbers(texts: pl.Series) -> pl.Series:
    """Write floats and decimals that are whole numbers as such.

    >>> _whole_numbers(pl.Series(["4711.0", "-0.00", "1.50", "007.0", "1e+16"])).to_list()
    ['4711', '0', '1.50', '007.0', '10000000000000000']
    """
    texts = texts.str.replace(_FRACTION, "$1")
    powers = texts.str.contains(_POWER).fill_null(value=False)
    if powers.any():
        written = [_digits(text) for text in texts.filter(powers)]
        texts = texts.scatter(powers.arg_true(), pl.Series(written, dtype=pl.String))
    return pl.select(pl.when(texts == "-0").then(pl.lit("0")).otherwise(texts)).to_series()


def _digits(text: str) -> str:
    number = Decimal(text)
    return str(int(number)) if number == number.to_integral_value() else text


def without_markers(texts: pl.Series, null_markers: Sequence[str]) -> tuple[pl.Series, int]:
    """Times or numbers as text, trimmed and null where they are missing; how many markers."""
    trimmed = texts.str.strip_chars(_BLANKS)
    missing = trimmed.is_in(["", *null_markers]).fill_null(value=False)
    if not missing.any():
        return trimmed, 0
    count = int((missing & (trimmed != "")).sum())
    return pl.select(pl.when(~missing).then(trimmed)).to_series(), count
