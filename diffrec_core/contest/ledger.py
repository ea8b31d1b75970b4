"""The ledger of nights: `nights.jsonl`, a line of canonical JSON for each night, written once.

    {"check":"…","schema":"night/1","night":"2026-11-24","champion":"ease-31bdbaa59c5f",…}

`check` is a hash of all else in the line, so that a changed digit is found. Lines may be in any
order, and a line may be there twice. What follows from them, `replay` says.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from pydantic import TypeAdapter, ValidationError

from diffrec_core.common.artifacts import storage_errors, write_bytes
from diffrec_core.common.errors import ArtifactError, DataError
from diffrec_core.contest.night import Night, in_order, problem_of

SCHEMA: Final = "night/1"

_NIGHT: Final = TypeAdapter(Night)
_REMEDY = "restore the file from its last good copy"


def line_of(night: Night) -> str:
    """A night as a line, with its end: equal nights, equal bytes."""
    content: dict[str, Any] = _NIGHT.dump_python(night, mode="json")
    content["schema"] = SCHEMA
    return _canonical({**content, "check": _check(content)}) + "\n"


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _check(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(content).encode()).hexdigest()[:16]


def append_night(path: Path, night: Night) -> bool:
    """Add a night to the ledger, atomically; only one writer at a time.

    Returns:
        False: the ledger has this night already, with the same content; nothing was written.

    Raises:
        DataError: the night contradicts itself.
        ArtifactError: the ledger is damaged, or has this night with other content.
        StorageError: it cannot be written; the ledger is as it was.
    """
    if problem := problem_of(night):
        raise DataError(f"night {night.night}: {problem}")
    text, line = _text(path) if path.exists() else "", line_of(night)
    earlier = {known.night: known for known in parse_nights(text, str(path))}
    if night.night in earlier:
        if line_of(earlier[night.night]) == line:
            return False
        raise ArtifactError(
            f"{path}: night {night.night} is there with other content. A night is written once: "
            f"what arrives later does not change it"
        )
    write_bytes(path, (text + line).encode())
    return True


def read_nights(path: Path) -> tuple[Night, ...]:
    """Read a ledger; nights by date, each once.

    Raises:
        ArtifactError: the file is missing or damaged; the message names the line and the field.
    """
    return parse_nights(_text(path), str(path))


def parse_nights(text: str, source: str) -> tuple[Night, ...]:
    """Parse the text of a ledger; see `read_nights`.

    Args:
        text: lines, each with its end.
        source: what messages call it.
    """
    lines = text.split("\n")
    if lines.pop():
        raise ArtifactError(
            f"{source}: line {len(lines) + 1} has no end, so it was cut off: {_REMEDY}"
        )
    nights = [_parse(line, f"{source}: line {number}") for number, line in enumerate(lines, 1)]
    try:
        return in_order(nights)
    except DataError as error:
        raise ArtifactError(f"{source}: {error}: {_REMEDY}") from error


def _text(path: Path) -> str:
    try:
        with storage_errors(path):
            return path.read_bytes().decode()
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing: no night was judged yet") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ArtifactError(f"{path}: line {line} is not UTF-8: {_REMEDY}") from error


def _parse(line: str, where: str) -> Night:
    content = _object(line, where)
    schema, check = content.pop("schema", None), content.pop("check", None)
    if schema != SCHEMA:
        raise ArtifactError(f"{where}: schema = {schema!r}, but this version reads {SCHEMA!r}")
    try:
        night = _NIGHT.validate_json(json.dumps(content))
    except ValidationError as error:
        _refuse(error, where)
    if problem := problem_of(night):
        raise ArtifactError(f"{where}: {problem}: {_REMEDY}")
    found = _check({**_NIGHT.dump_python(night, mode="json"), "schema": SCHEMA})
    if found != check:
        raise ArtifactError(
            f"{where}: check = {check!r}, but the content's is {found!r}: it was changed after it "
            f"was written; {_REMEDY}"
        )
    return night


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where} is not JSON ({error}): {_REMEDY}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{where} is not a JSON object: {_REMEDY}")
    return content


def _refuse(error: ValidationError, where: str) -> NoReturn:
    """Say which field of a line is wrong, the first one."""
    first = error.errors()[0]
    name, message = ".".join(map(str, first["loc"])), first["msg"]
    found = "" if first["type"] == "missing" else f" = {first['input']!r}"
    raise ArtifactError(
        f"{where}: {name}{found}: {message[0].lower()}{message[1:]}: {_REMEDY}"
    ) from error
