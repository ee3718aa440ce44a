"""Take the files out of archives that nobody vouches for."""

from __future__ import annotations

import errno
import lzma
import os
import tarfile
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Self

import attrs
from attrs.validators import ge, gt

import forge
from forge_files.streams import Limits, Readable, Stream, is_zip, opened

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PIECE = 1 << 20
_ENCRYPTED = 0x1
_MODE = 16  # bits by which a ZIP entry's Unix mode is shifted in its attributes
_KINDS = {0o120000: "a link", 0o060000: "a device", 0o020000: "a device", 0o010000: "a pipe", 0o140000: "a socket"}
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    ValueError,
    RuntimeError,  # a password, and `NotImplementedError`: a compression that zipfile does not know
)


@attrs.frozen
class Unpack:
    """Unpack every archive of the input.

    ZIP, tar, tar in gzip, xz or bzip2, and single files in gzip, xz or bzip2: the first bytes say which, no name does.

    One archive's files become the artifact's; the files of several lie in folders named after them. Archives inside
    of archives stay as they are. Times, owners and modes are left behind.
    ``most_bytes`` and ``most_files`` bound what comes out of all of them, ``most_ratio`` what comes out of each byte
    of an archive; they are counted while bytes come, whatever the archive declares.
    Absolute names, ``..``, links, devices, encrypted entries and names that come twice are refused.
    """

    most_bytes: int = attrs.field(default=4 * 1024**3, validator=ge(1))
    most_files: int = attrs.field(default=100_000, validator=ge(1))
    most_ratio: float = attrs.field(default=200.0, validator=gt(0.0))

    def make(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> None:
        """Unpack all archives in the order of their names."""
        archives = [(name, path) for each in inputs.values() for name, path in each.files().items()]
        limits = Limits(self.most_bytes, self.most_files, self.most_ratio)
        seen: set[str] = set()
        for done, (name, path) in enumerate(archives, start=1):
            folder = out if len(archives) == 1 else out / _stem(name)
            if len(archives) > 1 and _stem(name) in seen:
                raise forge.StepError(
                    f"two archives would be unpacked to `{_stem(name)}`", hint="unpack each in a step"
                )
            seen.add(_stem(name))
            folder.mkdir(parents=True, exist_ok=True)
            _unpack(name, path, folder, limits)
            run.progress(done, len(archives), files=limits.files)
        run.log(f"{limits.files:,} files, {limits.bytes:,} bytes out of {len(archives):,} archives")


def _unpack(name: str, path: Path, folder: Path, limits: Limits) -> None:
    try:
        with path.open("rb") as file:
            limits.begin(name, os.path.getsize(path))
            if is_zip(file):
                _unpack_zip(name, file, folder, limits)
                return
            with opened(file, limits) as stream:
                if _is_tar(stream.peek(tarfile.BLOCKSIZE)):
                    _unpack_tar(name, stream, folder, limits)
                elif stream.plain:
                    hint = "zip, tar, tar.gz, tar.xz, tar.bz2, gz, xz and bz2 can"
                    raise forge.StepError(f"`{name}` is no archive that can be unpacked", hint=hint)
                else:
                    _write(name, PurePosixPath(_stem(name)).name, stream, folder, limits)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise forge.StepError(f"`{name}` can't be unpacked: {error}") from error
    except _BROKEN as error:
        raise forge.StepError(f"`{name}` is damaged: {error or type(error).__name__}") from error


def _unpack_zip(name: str, file: IO[bytes], folder: Path, limits: Limits) -> None:
    seen: set[str] = set()
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            kind = _KINDS.get((entry.external_attr >> _MODE) & 0o170000)
            # zipfile cuts names at a NUL: what was written is judged
            inner = _checked(name, entry.orig_filename, kind, seen, is_folder=entry.is_dir())
            if entry.flag_bits & _ENCRYPTED:
                raise forge.StepError(f"`{name}`: `{inner}` is encrypted", hint="decrypt it before it is unpacked")
            if not entry.is_dir():
                with archive.open(entry) as stream:
                    size = _write(name, inner, stream, folder, limits)
                if size != entry.file_size:
                    raise limits.refused(f"says that `{inner}` has {entry.file_size:,} bytes, it has {size:,}")


class _Entry(tarfile.TarInfo):
    """Read a tar archive to its end, or fail: tarfile itself takes a damaged header for the end."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(str(error)) from error


def _unpack_tar(name: str, stream: Stream, folder: Path, limits: Limits) -> None:
    seen: set[str] = set()
    stream.expect_header()
    # a stream, so that nothing is believed before it came
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Entry) as archive:  # type: ignore[call-overload]
        for entry in archive:
            kind = "a link" if entry.issym() or entry.islnk() else None if entry.isreg() or entry.isdir() else "no file"
            inner = _checked(name, entry.name, kind, seen, is_folder=entry.isdir())
            stream.expect_content()
            content = archive.extractfile(entry) if entry.isreg() else None
            if content is not None:
                _write(name, inner, content, folder, limits)
            stream.expect_header()


def _checked(archive: str, name: str, kind: str | None, seen: set[str], *, is_folder: bool) -> str:
    """Return an entry's name without what means nothing; refuse one that leads elsewhere or is no file."""
    where = f"`{archive}`: the entry `{name!a}`"
    if kind is not None:
        raise forge.StepError(f"{where} is {kind}, which is refused", hint="an artifact holds files and folders only")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or name[1:2] == ":":
        raise forge.StepError(f"{where} leads out of the archive's folder, which is refused")
    if not path.parts and not is_folder:
        raise forge.StepError(f"{where} has no name")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise forge.StepError(f"{where} is not UTF-8") from None
    if not is_folder and str(path) in seen:
        raise forge.StepError(f"{where} comes twice, which is refused")
    seen.add("" if is_folder else str(path))
    return str(path)


def _write(archive: str, name: str, stream: Readable, folder: Path, limits: Limits) -> int:
    """Write one file of an archive, counting what comes, and return its size."""
    limits.count_file()
    target = folder / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while piece := stream.read(_PIECE):
                limits.count(len(piece))
                file.write(piece)
            return file.tell()
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise forge.StepError(f"`{archive}`: `{name}` is a file and a folder at once, which is refused") from error


def _is_tar(head: bytes) -> bool:
    try:
        return bool(tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape").name)
    except tarfile.TarError:
        return False


def _stem(name: str) -> str:
    """Return an archive's name without what says that it is one."""
    for suffix in (".zip", ".tar", ".tgz", ".txz", ".tbz2", ".gz", ".xz", ".bz2"):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            shorter = name[: -len(suffix)]
            return shorter.removesuffix(".tar") or shorter
    return f"{name}.unpacked"
