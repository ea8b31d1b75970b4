"""How records of delimited text are taken apart: delimiter, quotes, escapes, line ends."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

from diffrec_core.ingestion.layout import LogFormat

_NULL: Final = "N"
"""An escaped N is a null marker of databases, not a letter."""


@dataclass(frozen=True, slots=True)
class Record:
    """The first record of a text.

    Attributes:
        fields: its fields; None where its quotes do not match.
        end: where it ends in the text, before the line end; meaningless without fields.
        unclosed: there are no fields because the text ends before the record does.
    """

    fields: list[str] | None
    end: int = 0
    unclosed: bool = False


_BROKEN: Final = Record(None)
_UNCLOSED: Final = Record(None, unclosed=True)


@dataclass(frozen=True)
class Dialect:
    """How a record is taken apart.

    Attributes:
        delimiter: one or more characters between fields.
        quote: the character around fields that hold a delimiter or a line end, doubled inside
            them; None: quotes mean nothing.
        escape: the character before one that means nothing; None: there is none.
        comment: how lines begin that are no records; None: all are.
    """

    delimiter: str
    quote: str | None = '"'
    escape: str | None = None
    comment: str | None = None

    @classmethod
    def of(cls, layout: LogFormat) -> "Dialect":
        """The dialect that a section of params.yaml describes."""
        return cls(layout.delimiter, layout.quote, layout.escape, layout.comment)

    def is_no_record(self, line: pl.Expr) -> pl.Expr:
        """Whether a line is blank or a comment; delimiters alone are a record of empty fields."""
        blank = (line.str.strip_chars() == "") & ~line.str.contains(self.delimiter, literal=True)
        return blank if self.comment is None else blank | line.str.starts_with(self.comment)

    def is_simple(self, line: pl.Expr, width: int) -> pl.Expr:
        """Whether a line is a whole record of `width` fields that any CSV reader takes apart."""
        simple = line.str.count_matches(self.delimiter, literal=True) == width - 1
        if self.quote is not None:
            unquoted = ~line.str.contains(self.quote, literal=True)
            simple = simple & unquoted
            if len(self.delimiter) == 1:
                mark, end = _literal(self.quote), _literal(self.delimiter)
                field = f"(?:{mark}(?:[^{mark}]|{mark}{mark})*{mark}|[^{mark}{end}]*)"
                quoted = line.str.contains(f"^{field}(?:{end}{field}){{{width - 1}}}$")
                simple = pl.when(unquoted).then(simple).otherwise(quoted)
        if self.escape is not None:
            simple = simple & ~line.str.contains(self.escape, literal=True)
        return simple

    def split(self, text: str) -> Record:
        """Take the first record off a text of one or more lines.

        Takes time linear in the record: no regular expression that could backtrack.
        """
        if self.escape is not None:
            return self._split_escaped(text, self.escape)
        fields: list[str] = []
        start = 0
        line_end = _or_end(text.find("\n"), text)
        while True:
            if self.quote is not None and text.startswith(self.quote, start):
                end = _closing_quote(text, self.quote, start)
                if end < 0:
                    return _UNCLOSED
                after = end + 1
                if line_end < after:
                    line_end = _or_end(text.find("\n", after), text)
                fields.append(text[start + 1 : end].replace(self.quote * 2, self.quote))
                if after != line_end and not text.startswith(self.delimiter, after):
                    return _BROKEN
            else:
                after = text.find(self.delimiter, start, line_end)
                after = line_end if after < 0 else after
                fields.append(text[start:after])
            if after >= line_end:
                return Record(fields, line_end)
            start = after + len(self.delimiter)

    @cached_property
    def _tokens(self) -> re.Pattern[str]:
        escaped = f"{re.escape(self.escape)}(?:.|\n)?" if self.escape else None
        quote = re.escape(self.quote) if self.quote else None
        parts = (escaped, quote, re.escape(self.delimiter), "\n")
        return re.compile("|".join(filter(None, parts)))

    def _split_escaped(self, text: str, escape: str) -> Record:
        fields, field = [], ""
        start, state = 0, "start"  # of a field, then: bare, quoted, closed
        for token in self._tokens.finditer(text):
            between, what = text[start : token.start()], token[0]
            field, start = field + between, token.end()
            if between and state == "closed":
                return _BROKEN
            if state == "start" and between:
                state = "bare"
            if what.startswith(escape):
                if what == escape:
                    return _UNCLOSED
                field += what if what[1] == _NULL else what[1]
                state = "bare" if state == "start" else state
            elif what == self.quote and state != "bare":
                field += what if state == "closed" else ""
                state = "closed" if state == "quoted" else "quoted"
            elif what == self.quote or state == "quoted":
                field += what
            else:
                fields.append(field)
                field, state = "", "start"
                if what == "\n":
                    return Record(fields, token.start())
        if state == "quoted":
            return _UNCLOSED
        if state == "closed" and start < len(text):
            return _BROKEN
        return Record([*fields, field + text[start:]], len(text))


def _or_end(at: int, text: str) -> int:
    return len(text) if at < 0 else at


def _closing_quote(line: str, quote: str, opening: int) -> int:
    """Where the quoted field that opens there ends, or -1; a doubled quote does not end it."""
    end = line.find(quote, opening + 1)
    while end >= 0 and line.startswith(quote, end + 1):
        end = line.find(quote, end + 2)
    return end


def _literal(text: str) -> str:
    """Text that a (Rust) regular expression takes as it stands, inside brackets and out."""
    return "".join(f"\\x{{{ord(character):x}}}" for character in text)
