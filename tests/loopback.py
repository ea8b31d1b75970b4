"""A small web server on loopback that serves one file, as badly as a test asks for."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOG = bytes(range(256)) * 12_000  # 3 MB
DIRECT = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@dataclass
class Site:
    """What a server serves, how badly, and what it was asked for.

    Attributes:
        data: the one file that it has, under any path but /missing.
        tag: its ETag; None sends none.
        ranges: whether it honours Range.
        range_bytes: the most that it gives in answer to Range.
        next_data: what its file becomes, with another ETag, as soon as Range is asked for.
        cut_after: bytes after which answers break off; taken one by one, then whole answers.
        errors: statuses to answer with first, one by one.
        hold: answers that broke off are held open until this is set.
        asked: the Range header of each request, None where there was none.
    """

    data: bytes = LOG
    tag: str | None = '"v1"'
    ranges: bool = True
    range_bytes: int = 10**9
    next_data: bytes | None = None
    cut_after: list[int] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    hold: threading.Event | None = None
    asked: list[str | None] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.site.asked.append(wanted)
        if self.path == "/missing" or self.site.errors:
            self.send_error(404 if self.path == "/missing" else self.site.errors.pop(0))
            return
        if wanted and self.site.next_data:
            self.site.data, self.site.tag = self.site.next_data, '"next"'
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        same = self.headers["If-Range"] in {None, self.site.tag}
        partial = bool(wanted) and self.site.ranges and same
        end = start + self.site.range_bytes
        body = self.site.data[start:end] if partial else self.site.data
        self.send_response(206 if partial else 200)
        self.send_header("Content-Length", str(len(body)))
        if self.site.tag:
            self.send_header("ETag", self.site.tag)
        if partial:
            size = len(self.site.data)
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{size}")
        self.end_headers()
        if self.site.cut_after:
            self.wfile.write(body[: self.site.cut_after.pop(0)])
            self.wfile.flush()
            if self.site.hold:
                self.site.hold.wait(30)
        else:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is part of the tests."""


@contextmanager
def serving(site: Site) -> Iterator[str]:
    server = Server(("127.0.0.1", 0), type("SiteHandler", (Handler,), {"site": site}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        if site.hold:
            site.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
