"""The bytes of a raw file: what kind of file they make, where lines end, and their checksum."""

import hashlib
import io
from pathlib import Path
from typing import BinaryIO, Final

GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
PARQUET: Final = b"PAR1"
UTF16: Final = (b"\xff\xfe", b"\xfe\xff")

_UNPACK: Final = "unpack it, or compress it with gzip or zstd"
NOT_TEXT: Final = {
    PARQUET: "a Parquet file: set its format to parquet",
    b"PAR\x45": "an encrypted Parquet file: decrypt it",
    b"ORC": "an ORC file: convert it to Parquet",
    b"Obj\x01": "an Avro file: convert it to Parquet",
    b"ARROW1": "an Arrow file: convert it to Parquet",
    b"FEA1": "a Feather file: convert it to Parquet",
    b"PK\x03\x04": "a zip archive, as Excel's .xlsx is too: unpack it, or export CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel file: export CSV",
    b"SQLite format 3": "an SQLite database: export CSV",
    b"\x89HDF": "an HDF5 file: convert it to Parquet",
    b"\x93NUMPY": "a NumPy file: convert it to Parquet",
    b"\x80\x04\x95": "a Python pickle: convert it to Parquet",
    b"BZh": f"compressed with bzip2: {_UNPACK}",
    b"\xfd7zXZ\x00": f"compressed with xz: {_UNPACK}",
    b"\x04\x22\x4d\x18": f"compressed with lz4: {_UNPACK}",
    b"\xff\x06\x00\x00sNaPpY": f"compressed with snappy: {_UNPACK}",
    b"\x89LZO": f"compressed with lzop: {_UNPACK}",
    b"\x1f\x9d": f"compressed with compress: {_UNPACK}",
    b"7z\xbc\xaf\x27\x1c": f"a 7z archive: {_UNPACK}",
    b"Rar!\x1a\x07": f"a rar archive: {_UNPACK}",
    b"%PDF": "a PDF",
    b"<!DOCTYPE": "a web page, perhaps the error of a download: fetch it again",
    b"<html": "a web page, perhaps the error of a download: fetch it again",
    b"<?xml": "XML: convert it to JSON lines",
    b"version https://git-lfs": "a pointer of Git LFS: run `git lfs pull`",
}
"""First bytes -> what a file that begins with them is, and what to do."""

_TAR: Final = (b"ustar", 257)
HEAD_BYTES: Final = 264
"""So many first bytes tell what a file is."""

_BLOCK: Final = 2**20


def not_text(head: bytes) -> str | None:
    """Say what a file is that begins like this and is not plain text; None: it may be text."""
    for magic, what in NOT_TEXT.items():
        if head.startswith(magic):
            return what
    magic, at = _TAR
    return f"a tar archive: {_UNPACK}" if head[at:].startswith(magic) else None


def is_plain_text(path: Path) -> bool:
    """True unless the file begins like one that is compressed or binary."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return not head.startswith((GZIP, ZSTD, *UTF16)) and not_text(head) is None


def last_line_end(path: Path, size: int) -> int:
    """How many of the first `size` bytes are whole lines; 0 without any line end."""
    with path.open("rb") as file:
        while size:
            start = max(0, size - _BLOCK)
            file.seek(start)
            end = file.read(size - start).rfind(b"\n")
            if end >= 0:
                return start + end + 1
            size = start
    return 0


def sha256_of_starts(path: Path, *sizes: int) -> list[str]:
    """SHA-256, in hexadecimal, of a file's first bytes: one pass for several ascending sizes.

    A file with fewer bytes is hashed as far as it goes.
    """
    digest, checksums, done = hashlib.sha256(), [], 0
    with path.open("rb") as file:
        for size in sizes:
            while block := file.read(min(_BLOCK, size - done)):
                digest.update(block)
                done += len(block)
            checksums.append(digest.hexdigest())
    return checksums


class HashedBytes(io.RawIOBase):
    """The first bytes of an open file, hashed as they are read; it is read once, front to back.

    Args:
        file: open at its beginning.
        size: how many of its bytes there are to read; what is appended meanwhile is not seen.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size
        self._digest = hashlib.sha256()
        self.position = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into a buffer, as `io` asks for it."""
        block = self._file.read(min(len(buffer), self._left))
        buffer[: len(block)] = block
        self._digest.update(block)
        self._left -= len(block)
        self.position += len(block)
        return len(block)

    def sha256(self) -> str:
        """Read what is left; return the checksum of all, in hexadecimal."""
        block = self.read(_BLOCK)
        while block:
            block = self.read(_BLOCK)
        return self._digest.hexdigest()
