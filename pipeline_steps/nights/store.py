"""Small files that all machines see: what a run is, what it has done, which model was promoted.

They lie beside DVC's own remote, so that workers share nothing else: a folder of this machine or
of a mounted disk, or any URL that fsspec knows (`s3://bucket/prefix`, with s3fs installed).
`settings` says where.

Files appear whole. `create` is the one operation that can fail because somebody else was quicker,
and everything that must not happen twice is built on it.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import fsspec
from fsspec.spec import AbstractFileSystem

from diffrec_core.common.errors import ArtifactError, ConfigError, StorageError

_LOCAL = {"file", "local"}


class ExistsError(StorageError):
    """A file that was to be created is there already: somebody else was quicker."""


class Store:
    """A flat name space of small files below a URL.

    Args:
        url: a folder, absolute, or a URL of fsspec.

    Raises:
        ConfigError: the URL's kind is not known or its library is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            fs, root = fsspec.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"{url}: {error}") from error
        self._fs: AbstractFileSystem = fs
        self._root = str(root).rstrip("/")
        protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
        self._is_local = bool(protocols & _LOCAL)

    def names(self, prefix: str = "") -> list[str]:
        """Names of the files below a folder, sorted, relative to the store."""
        folder = self._path(prefix)
        self._fs.invalidate_cache()
        if not self._fs.isdir(folder):
            return []
        found = [str(path)[len(self._root) + 1 :] for path in self._fs.find(folder)]
        return sorted(name for name in found if not name.rpartition("/")[2].startswith("."))

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            ArtifactError: there is none.
        """
        try:
            content: bytes = self._fs.cat_file(self._path(name))
        except FileNotFoundError as error:
            raise ArtifactError(f"{self._path(name)} is missing") from error
        return content

    def read_if_there(self, name: str) -> bytes | None:
        """The bytes of a file, None where there is none."""
        try:
            return self.read(name)
        except ArtifactError:
            return None

    def read_folder(self, prefix: str) -> dict[str, bytes]:
        """Every file below a folder, by its name from there on; over a network, side by side."""
        names = self.names(prefix)
        found = self._fs.cat([self._path(name) for name in names]) if names else {}
        content = {str(path): data for path, data in found.items()}
        folder = self._path(prefix)
        return {path.removeprefix(folder).lstrip("/"): content[path] for path in sorted(content)}

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole; replaces what is there.

        Raises:
            StorageError: it cannot be written; what was there is as it was.
        """
        if not self._is_local:  # an object appears when its upload is complete
            self._guarded(name, lambda: self._fs.pipe_file(self._path(name), content))
            return
        path = Path(self._path(name))
        self._guarded(name, lambda: self._beside(path, content).replace(path))

    def upload(self, name: str, path: Path) -> None:
        """Copy a file of any size into the store; under its name it is whole or not there.

        Raises:
            StorageError: it cannot be written.
        """
        target = self._path(name)
        if not self._is_local:
            self._guarded(name, lambda: self._fs.put_file(str(path), target))
            return

        def copy() -> None:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(target).with_name(f".{Path(target).name}.{uuid4().hex}.tmp")
            shutil.copyfile(path, temporary)
            temporary.replace(target)

        self._guarded(name, copy)

    def create(self, name: str, content: bytes) -> None:
        """Write a file, whole, unless it is there.

        Of several that create the same name at the same moment, one succeeds.

        Raises:
            ExistsError: it is there.
            StorageError: it cannot be written.
        """
        try:
            if self._is_local:
                self._guarded(name, lambda: self._link(Path(self._path(name)), content))
            else:
                self._guarded(
                    name,
                    lambda: self._fs.pipe_file(self._path(name), content, mode="create"),
                )
        except FileExistsError as error:
            raise ExistsError(f"{self._path(name)} is there already") from error

    def _link(self, path: Path, content: bytes) -> None:
        """A link to a complete file: unlike a rename, it fails where the name is taken."""
        temporary = self._beside(path, content)
        try:
            path.hardlink_to(temporary)
        finally:
            temporary.unlink()

    def _beside(self, path: Path, content: bytes) -> Path:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:  # not to be taken for a name that somebody else took
            raise NotADirectoryError(f"{path.parent} is a file") from error
        temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return temporary

    def _guarded(self, name: str, action: Callable[[], object]) -> None:
        try:
            action()
        except FileExistsError:
            raise
        except OSError as error:
            raise StorageError(f"{self._path(name)} cannot be written: {error}") from error

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")
