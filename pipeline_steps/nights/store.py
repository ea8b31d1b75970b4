"""Small files that all machines share: specification and state of runs, the log of promotions.

They lie beside DVC's own remote, so that workers share nothing else: in a folder of this machine or
of a mounted disk, or at any URL that fsspec knows (`s3://bucket/prefix`, with s3fs installed).

Files are written atomically. `create` is the only operation that fails if another process was
first; everything that must happen once is built on it.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import fsspec
from fsspec.spec import AbstractFileSystem

from diffrec_core.common.artifacts import sync_file, temporary_file
from diffrec_core.common.errors import ArtifactError, ConfigError, StorageError
from pipeline_steps.runtime.urls import public

_LOCAL = {"file", "local"}


class ExistsError(StorageError):
    """A file to be created exists: another process was first."""


class Store:
    """A flat name space of small files below a URL.

    Args:
        url: an absolute folder, or a URL of fsspec.

    Raises:
        ConfigError: the URL's scheme is unknown or its library is not installed.
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
        content = self.read_if_there(name)
        if content is None:
            raise ArtifactError(f"{self._path(name)} is missing")
        return content

    def read_if_there(self, name: str) -> bytes | None:
        """The bytes of a file, or None."""
        with suppress(FileNotFoundError):
            content: bytes = self._fs.cat_file(self._path(name))
            return content
        return None

    def read_folder(self, prefix: str) -> dict[str, bytes]:
        """The files below a folder, by their names in it, sorted; fetched concurrently."""
        folder = self._path(prefix)
        paths = [self._path(name) for name in self.names(prefix)]
        files = self._fs.cat(paths) if paths else {}
        return {path.removeprefix(folder).lstrip("/"): files[path] for path in paths}

    def write(self, name: str, content: bytes) -> None:
        """Write or replace a file.

        Raises:
            StorageError: it cannot be written; the old file is unchanged.
        """
        self.write_all({name: content})

    def write_all(self, files: Mapping[str, bytes]) -> None:
        """Write files that belong together.

        In a folder none appears before all are on the disk. They appear in the given order: a
        crash in between leaves the later ones unchanged.

        Raises:
            StorageError: one cannot be written; in a folder, all are unchanged.
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

    def create(self, name: str, content: bytes) -> None:
        """Write a file unless it exists: of concurrent calls with one name, one succeeds.

        Raises:
            ExistsError: it exists.
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
        """Remove a file if it exists.

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
