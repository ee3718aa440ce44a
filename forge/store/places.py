"""Where a remote lies: a folder of this machine, or anything that fsspec reaches. Only bytes and names here, no trust.

Names are relative, slashes between folders. What is written appears under its name whole or not at all: folders and
file servers get a temporary file that is renamed, object stores (S3 and its like) do so by themselves.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

import attrs

from forge.core.errors import StoreError, UsageError
from forge.store.disk import unique
from forge.store.used import touch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 8 << 20
"""Bytes that are asked for and held at once, for each transfer that runs."""

_WHOLE = {"abfs", "abfss", "adl", "az", "gcs", "gs", "memory", "oss", "s3", "s3a"}
"""Protocols whose uploads appear only when they are complete."""

_S3 = {"s3", "s3a"}
_PATIENCE = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 2}}
"""Seconds and attempts for S3, where nothing else is configured: a server that is gone is told within two minutes."""


class Place(Protocol):
    """Hold files by name; every failure is a StoreError that names the place."""

    @property
    def label(self) -> str:
        """Return the path or URL, for people; it holds no secret."""

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes, or None if it is not there."""

    def read(self, name: str, size: int, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes from *start* to *size* of a file in pieces, fewer or more if the place has it so."""

    def put(self, name: str, path: Path, progress: Callable[[int], None]) -> None:
        """Copy a file there; *progress* is told of bytes as they leave."""

    def write(self, name: str, data: bytes) -> None:
        """Write a small file there."""

    def names(self, folder: str) -> list[str]:
        """Return the names of all files below *folder*, relative to it, in order."""


def open_place(url: str) -> Place:
    """Return the place that a path or URL names; raise UsageError for one that holds a secret."""
    if "://" not in url and "::" not in url:
        return Folder(Path(url).absolute())
    parts = urlsplit(url)
    if parts.password is not None or parts.query or parts.fragment:
        raise UsageError(
            f"a remote's URL may hold no password, key or token: `{parts.scheme}://…`",
            hint="put them in the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`) or fsspec's configuration",
        )
    if "::" in url:
        raise UsageError("a chained URL (`…::…`) can't be a remote", hint="name the remote itself")
    if parts.scheme == "file":
        return Folder(Path(unquote(parts.path)))
    return _reach(url.rstrip("/"), parts.scheme)


def _reach(url: str, scheme: str) -> Place:
    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    try:
        import fsspec
        from fsspec.config import conf

        if scheme in _S3 and "config_kwargs" not in conf.get("s3", {}):
            options["config_kwargs"] = _PATIENCE
        fsspec.get_filesystem_class(scheme)
    except ValueError as error:
        raise UsageError(f"`{scheme}://` is no protocol that fsspec knows", hint="try `s3://bucket/path`") from error
    except ImportError as error:
        raise StoreError(
            f"the remote `{url}` needs a package that is not installed: {error}",
            hint="run `pip install 'forge[remote]'`"
            + ("" if scheme in _S3 else f", and the package that fsspec wants for `{scheme}://`"),
        ) from error
    with _named(url, "reach"):
        system, root = fsspec.core.url_to_fs(url, **options)
    return Bucket(url, system, root)


@attrs.frozen
class Folder:
    """Be a folder, on this machine or mounted from another."""

    root: Path

    @property
    def label(self) -> str:
        """Return the folder's path."""
        return str(self.root)

    def size(self, name: str) -> int | None:
        """Return a file's size; what is found is in use, for the folder may be a store that is collected."""
        path = self.root / name
        with _named(self.label, "read"):
            try:
                found = path.stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                return None
        touch(self.root, path)
        return found

    def read(self, name: str, size: int, start: int = 0) -> Iterator[bytes]:
        """Yield the file's bytes, and one more if there are more than *size*."""
        with _named(self.label, "read"), (self.root / name).open("rb") as file:
            file.seek(start)
            left = size + 1 - start
            while left and (chunk := file.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk

    def put(self, name: str, path: Path, progress: Callable[[int], None]) -> None:
        """Copy a file there."""

        def fill(temporary: Path) -> None:
            shutil.copyfile(path, temporary)
            temporary.chmod(0o444)
            progress(temporary.stat().st_size)

        self._place(name, fill)

    def write(self, name: str, data: bytes) -> None:
        """Write a small file."""
        self._place(name, lambda temporary: temporary.write_bytes(data))

    def names(self, folder: str) -> list[str]:
        """Return all names below *folder*."""
        base = self.root / folder
        with _named(self.label, "read"):
            return sorted(p.relative_to(base).as_posix() for p in base.rglob("*") if p.is_file())

    def _place(self, name: str, fill: Callable[[Path], Any]) -> None:
        target = self.root / name
        temporary = target.with_name(f".{target.name}.{unique()}")
        with _named(self.label, "write"):
            self.root.mkdir(exist_ok=True)  # its parent must be there: a share that is not mounted is an error
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                fill(temporary)
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise


@attrs.frozen
class Bucket:
    """Be a bucket, or whatever else a file system of fsspec reaches; *root* is the path within it."""

    label: str
    system: Any
    root: str

    def size(self, name: str) -> int | None:
        """Return a file's size."""
        with _named(self.label, "read"):
            try:
                info = self.system.info(self._path(name))
            except FileNotFoundError:
                return None
        return int(info["size"] or 0) if info["type"] == "file" else None

    def read(self, name: str, size: int, start: int = 0) -> Iterator[bytes]:
        """Yield the file's bytes by ranges; a file of another size than *size* should not be asked for."""
        for begin in range(start, size, CHUNK):
            with _named(self.label, "read"):
                chunk = self.system.cat_file(self._path(name), start=begin, end=min(begin + CHUNK, size))
            yield chunk

    def put(self, name: str, path: Path, progress: Callable[[int], None]) -> None:
        """Upload a file."""
        from fsspec.callbacks import Callback

        class Told(Callback):  # type: ignore[misc]  # fsspec has no types
            def relative_update(self, inc: int = 1) -> None:
                progress(inc)

        self._place(name, lambda target: self.system.put_file(str(path), target, callback=Told()))

    def write(self, name: str, data: bytes) -> None:
        """Upload a small file."""
        self._place(name, lambda target: self.system.pipe_file(target, data))

    def names(self, folder: str) -> list[str]:
        """Return all names below *folder*."""
        base = self._path(folder)
        with _named(self.label, "read"):
            try:
                found = self.system.find(base)
            except FileNotFoundError:
                return []
        # paths come back in the file system's own form, with or without a leading slash
        return sorted(path.lstrip("/").removeprefix(base.lstrip("/") + "/") for path in found)

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if self.root else name

    def _place(self, name: str, send: Callable[[str], Any]) -> None:
        target = self._path(name)
        protocol = self.system.protocol
        with _named(self.label, "write"):
            if _WHOLE.intersection([protocol] if isinstance(protocol, str) else protocol):
                send(target)
                return
            folder, _, last = target.rpartition("/")
            temporary = f"{folder}/.{last}.{unique()}"
            self.system.makedirs(folder, exist_ok=True)
            try:
                send(temporary)
                self.system.mv(temporary, target)
            except BaseException:
                with suppress(Exception):
                    self.system.rm_file(temporary)
                raise


@contextmanager
def _named(label: str, doing: str) -> Iterator[None]:
    """Turn whatever a place's library raises into an error that names the place; which classes those are, none says."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        kind = type(error).__name__
        said = " ".join(str(error).split()) or kind
        number = getattr(error, "errno", None)
        if kind in {"NoCredentialsError", "PartialCredentialsError"}:
            raise StoreError(
                f"there are no credentials for the remote `{label}`",
                hint="set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or `AWS_PROFILE`",
            ) from error
        if isinstance(error, PermissionError) or number == errno.EROFS:
            raise StoreError(
                f"no permission to {doing} the remote `{label}`: {said}",
                hint="its credentials come from the environment" if "://" in label else None,
            ) from error
        if isinstance(error, FileNotFoundError):
            raise StoreError(
                f"can't {doing} the remote `{label}`: {said}", hint="is the bucket or folder there?"
            ) from error
        if number in {errno.ENOSPC, errno.EDQUOT}:
            raise StoreError(f"the remote `{label}` is full") from error
        raise StoreError(
            f"can't {doing} the remote `{label}`: {kind}: {said}",
            hint="run it again: what has travelled is kept, and only the rest is sent",
        ) from error
