"""Small files that all machines see: what a run is, what it has done, which model was promoted.

They lie beside DVC's own remote, so that workers share nothing else: a folder of this machine or
of a mounted disk, or any URL that fsspec knows (`s3://bucket/prefix`, with s3fs installed).
`settings` says where.

Files appear whole. `create` is the one operation that can fail because somebody else was quicker,
and everything that must not happen twice is built on it.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import fsspec
from fsspec.spec import AbstractFileSystem

from diffrec_core.common.artifacts import atomic_file, sync_file, temporary_file
from diffrec_core.common.errors import ArtifactError, ConfigError, StorageError
from pipeline_steps.runtime.urls import public

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
            raise ConfigError(f"{public(url)}: {error}") from error
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
        names = [str(path)[len(self._root) + 1 :] for path in self._fs.find(folder)]
        return sorted(name for name in names if not name.rpartition("/")[2].startswith("."))

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
        files = self._fs.cat([self._path(name) for name in names]) if names else {}
        content = {str(path): data for path, data in files.items()}
        folder = self._path(prefix)
        return {path.removeprefix(folder).lstrip("/"): content[path] for path in sorted(content)}

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole; replaces what is there.

        Raises:
            StorageError: it cannot be written; what was there is as it was.
        """
        self.write_all({name: content})

    def write_all(self, files: Mapping[str, bytes]) -> None:
        """Write files that belong together, each whole.

        In a folder none appears before all are on the disk. They appear in the given order: a
        crash in between leaves the later ones as they were.

        Raises:
            StorageError: one cannot be written; in a folder, all are as they were.
        """
        if not self._is_local:  # an object appears when its upload is complete
            for name, content in files.items():
                with self._guarded(name):
                    self._fs.pipe_file(self._path(name), content)
            return
        with ExitStack() as stack:
            staged = {name: self._staged(stack, name, files[name]) for name in files}
            for name, temporary in staged.items():
                with self._guarded(name):
                    temporary.replace(self._path(name))

    def upload(self, name: str, path: Path) -> None:
        """Copy a file of any size into the store; under its name it is whole or not there.

        Raises:
            StorageError: it cannot be written.
        """
        with self._guarded(name):
            if not self._is_local:
                self._fs.put_file(str(path), self._path(name))
                return
            with atomic_file(Path(self._path(name))) as temporary:
                shutil.copyfile(path, temporary)

    def create(self, name: str, content: bytes) -> None:
        """Write a file, whole, unless it is there.

        Of several that create the same name at the same moment, one succeeds.

        Raises:
            ExistsError: it is there.
            StorageError: it cannot be written.
        """
        with ExitStack() as stack:
            make = partial(self._fs.pipe_file, self._path(name), content, mode="create")
            if self._is_local:  # unlike a rename, a link fails where the name is taken
                complete = self._staged(stack, name, content)
                make = partial(Path(self._path(name)).hardlink_to, complete)
            with self._guarded(name):
                try:
                    make()
                except FileExistsError as error:
                    raise ExistsError(f"{self._path(name)} is there already") from error

    def remove(self, name: str) -> None:
        """Remove a file, if it is there.

        Raises:
            StorageError: it cannot be removed.
        """
        with self._guarded(name), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def _staged(self, stack: ExitStack, name: str, content: bytes) -> Path:
        """The content in a temporary file beside its target, until the stack is closed."""
        with self._guarded(name):
            temporary = stack.enter_context(temporary_file(Path(self._path(name))))
            temporary.write_bytes(content)
            sync_file(temporary)
        return temporary

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self._path(name)} cannot be written: {error}") from error

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")
