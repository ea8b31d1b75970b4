"""JSON texts: where the values of a file begin and end, one a line or over any number of lines."""

import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

import polars as pl

from diffrec_core.common.errors import DataError
from diffrec_core.data.schema import RAW
from diffrec_core.ingestion.raw_manifest import RawFile
from diffrec_core.ingestion.text_lines import TextChunk, read_text, split_lines

SAMPLED_BYTES: Final = 2**16
_MAX_VALUE: Final = 64 * 2**20
_BETWEEN: Final = " \t\r\n,\ufeff"
"""Between the values of a text that is not JSON lines."""


def _number(text: str) -> str:
    """A number as it is written; without its exponent where it is whole.

    >>> _number("1.50"), _number("1e3"), _number("1E-7")
    ('1.50', '1000', '1E-7')
    """
    if "e" not in text and "E" not in text:
        return text
    try:
        number = Decimal(text)
        whole = number.adjusted() < 40 and number == number.to_integral_value()
    except InvalidOperation:
        return text
    return str(int(number)) if whole else text


decode: Final = json.JSONDecoder(parse_float=_number, parse_int=str, parse_constant=str).raw_decode


@dataclass(frozen=True, slots=True)
class Value:
    """A JSON text of its own: one line, or one value of a text that is not JSON lines."""

    row: int
    text: str
    problem: str | None


def json_texts(file: RawFile, encoding: str) -> list[str]:
    """The first JSON values of a file, each as its text."""
    first = next(read_text(file, encoding, SAMPLED_BYTES))
    by_line = is_by_line(first.data)
    values = (
        values_by_line(split_lines(first.data), 1)
        if by_line
        else ValueStream(file.path).take(first)
    )
    return [value.text for value in values if value.problem is None]


def is_by_line(data: bytes) -> bool:
    """Whether the first line that holds something is an object, or damaged, but no beginning."""
    text = data.decode(errors="replace").strip(_BETWEEN)
    if text.startswith("["):
        return False
    line = text.partition("\n")[0]
    try:
        _, end = decode(line)
    except (json.JSONDecodeError, RecursionError):
        try:
            _, end = decode(text)
        except (json.JSONDecodeError, RecursionError):
            return not text.startswith("{") or line.strip() != "{"
        return "\n" not in text[:end]
    return end == len(line.rstrip()) or not line[end:].lstrip(_BETWEEN).startswith("{")


def values_by_line(lines: pl.DataFrame, row: int) -> list[Value]:
    """The lines that hold something, each as a value; the first has the given row."""
    lines = lines.with_columns(pl.col(RAW).str.strip_chars(" \t\r\ufeff").alias("text"))
    return [
        Value(row + at, raw if problem else text, problem)
        for at, (raw, problem, text) in enumerate(lines.iter_rows())
        if text.strip()
    ]


class ValueStream:
    """Takes values one after the other off a text in which line ends mean nothing.

    Their source row counts the values from 1. Of a damaged value, the text up to the next line
    that begins like the first value is rejected; where there is no such line, so is the file.

    Args:
        path: of the file, for messages.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._rest, self._row, self._start, self._in_array = "", 0, "", False

    def take(self, chunk: TextChunk) -> list[Value]:
        """The values that end in this chunk."""
        text = self._rest + chunk.data.decode(errors="backslashreplace")
        at, values = _skip(text, 0), list[Value]()
        while at < len(text):
            if text[at] == ("]" if self._in_array else "["):  # around all
                self._in_array = not self._in_array
                at = _skip(text, at + 1)
                continue
            end, problem = self._end(text, at, last=chunk.last)
            if end is None:
                break
            self._row += 1
            values.append(Value(self._row, text[at:end], problem))
            at = _skip(text, end)
        self._rest = text[at:]
        if len(self._rest) > _MAX_VALUE:
            raise DataError(f"{self._path} has a JSON value of more than {_MAX_VALUE // 2**20} MiB")
        if chunk.last and self._in_array and not chunk.growing:
            raise DataError(f"{self._path} is incomplete: its JSON array does not end")
        return values

    def _end(self, text: str, at: int, *, last: bool) -> tuple[int | None, str | None]:
        """Where the value ends, and what is wrong with it; None: not in this text."""
        if not self._start:
            self._start = text[text.rfind("\n", 0, at) + 1 : at + 1].lstrip("[")
        try:
            end = decode(text, at)[1]
        except RecursionError:
            problem, cut = "not valid JSON: nested too deeply", False
        except json.JSONDecodeError as error:
            problem = f"not valid JSON: {error.msg} at position {error.pos - at}"
            cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        else:
            # a number at the end of the text may go on
            return (end, None) if last or end < len(text) else (None, None)
        following = text.find(f"\n{self._start}", at)
        if following >= 0:
            return following, problem
        if last and not cut:
            raise DataError(
                f"{self._path} is damaged: after {self._row} JSON values, {problem}: "
                f"{text[at : at + 100]!r}"
            )
        return (len(text), problem) if last else (None, None)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BETWEEN:
        at += 1
    return at
