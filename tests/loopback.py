"""A small web server on loopback that serves one file, as badly as a test asks for."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DIRECT = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@dataclass
class Site:
    """What a server serves, how badly, and how often it was asked.

    Attributes:
        data: the one file that it has, under any path.
        status: what it answers with; anything but 200 without the file.
        cut_after: bytes after which an answer breaks off; None: whole answers.
        hold: answers that broke off are held open until this is set.
        requests: how many there were.
    """

    data: bytes
    status: int = 200
    cut_after: int | None = None
    hold: threading.Event = field(default_factory=threading.Event)
    requests: int = 0


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        self.site.requests += 1
        if self.site.status != 200:
            self.send_error(self.site.status)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.site.data)))
        self.end_headers()
        self.wfile.write(self.site.data[: self.site.cut_after])
        if self.site.cut_after is not None:
            self.wfile.flush()
            self.site.hold.wait()

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
        site.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def zipped(files: dict[str, bytes]) -> bytes:
    """An archive; the same bytes in every process, for names of tests hold its checksum."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
