"""The bytes of a raw file: what kind of file they make, where lines end, and their checksum."""

import hashlib
from pathlib import Path
from typing import Final

GZIP: Final = b"\x1f\x8b"
NOT_TEXT: Final = {
    b"PAR1": "a Parquet file: set its format to parquet",
    b"PK\x03\x04": "a zip archive: unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: unpack it, or compress it with gzip",
    b"BZh": "compressed with bzip2: unpack it, or compress it with gzip",
    b"\xfd7zXZ\x00": "compressed with xz: unpack it, or compress it with gzip",
    b"\xff\xfe": "UTF-16 text: convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text: convert it to UTF-8",
}
"""First bytes -> what a file that begins with them is, and what to do."""

HEAD_BYTES: Final = max(map(len, NOT_TEXT))
_BLOCK: Final = 2**20


def is_plain_text(path: Path) -> bool:
    """True unless the file begins like one that is compressed or binary."""
    with path.open("rb") as file:
        return not file.read(HEAD_BYTES).startswith((GZIP, *NOT_TEXT))


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
