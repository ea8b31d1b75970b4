"""Addresses of stores, databases and servers as they may be shown: without secrets.

`sqlalchemy.make_url` and `urllib` end a password at its first raw `@` or `/` and show what follows
as the host, so they cannot be asked what to hide.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote

_HIDDEN = "***"
_FILES = {"", "file", "sqlite"}
_SCHEME = re.compile(r"[\w+.-]+://")
_SECRET_OPTION = re.compile(r"(?i)[?&;][^=&;#]*(?:pass|pwd|secret|token|key)[^=&;#]*=([^&;#]+)")


def public(url: str) -> str:
    """A URL without its password, query and fragment: what may stand in files, logs and messages.

    Where it is not clear what belongs to the password, the scheme alone is shown.

    >>> public("postgresql://ann:se/cr@et@db/mlflow?sslpassword=secret"), public("sqlite:///a.db")
    ('postgresql://ann:***@db/mlflow', 'sqlite:///a.db')
    >>> public("https://token:@host/path"), public("http://host/?next=ann:secret@db")
    ('https://***@host/path', 'http://***')
    """
    scheme, credentials, address = _parts(url)
    if address is None:
        return f"{scheme}{_HIDDEN}"
    if credentials is None:
        return f"{scheme}{address}"
    user, colon, _ = credentials.partition(":")
    # a server takes a token in place of a user's name
    shown = f"{user}:{_HIDDEN}" if colon and not scheme.startswith("http") else _HIDDEN
    return f"{scheme}{shown}@{address}"


def redacted(text: str, url: str) -> str:
    """What a library says about a URL, without what `public` hides of it."""
    text = text.replace(url.rstrip("/"), public(url).rstrip("/"))
    for secret in sorted(_secrets(url), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text


def _parts(url: str) -> tuple[str, str | None, str | None]:
    """Scheme, credentials if any, and address; no address where a query may be a password's end."""
    match = _SCHEME.match(url)
    scheme = match[0] if match else ""
    rest = url.removeprefix(scheme)
    location = re.split(r"[?#;]", rest, maxsplit=1)[0]
    if "@" in rest.removeprefix(location):
        return scheme, None, None
    if location.startswith("/") and re.split(r"\W", scheme)[0] in _FILES:
        return scheme, None, location
    credentials, at, address = location.rpartition("@")
    return scheme, credentials if at else None, address


def _secrets(url: str) -> Iterator[str]:
    _, credentials, _ = _parts(url)
    user, _, password = (credentials or "").partition(":")
    for secret in (password or user, *_SECRET_OPTION.findall(url)):
        yield from filter(None, {secret, unquote(secret)})
