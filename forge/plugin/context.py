"""What a running step is given: its inputs and a line to the build."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from forge.core.errors import StepError
from forge.plugin.table import TABLE, read_rows

if TYPE_CHECKING:
    import polars as pl

    from forge.core.files import File

RECEIPT = "receipt.json"
FIGURES = ("metrics.json", "stats.json", RECEIPT)
"""The members in which an artifact states figures; of one name the first counts."""

_FICLONE = 0x40049409
"""Linux's request to share blocks (`ioctl_ficlonerange(2)`); btrfs, xfs and others have it, ext4 has not."""
_PIECE = 1 << 30
"""Bytes that are copied at once."""

DROPPED = "__dropped__"
TALLY = "__tally__:"


@attrs.frozen
class Artifact:
    """Show one input artifact as a read-only folder of real files.

    ``digest`` names its whole content.
    """

    name: str
    path: Path
    digest: str = ""

    @property
    def file(self) -> Path:
        """Return the only file of a one-file artifact."""
        files = self.files()
        if len(files) != 1:
            message = f"input `{self.name}` holds {len(files)} files where one is wanted"
            raise StepError(message, hint=f"it holds {', '.join(sorted(files)[:5])}")
        return next(iter(files.values()))

    def files(self) -> dict[str, Path]:
        """Return every member by its name."""
        prefix = f"{self.path}{os.sep}"
        found = [os.path.join(folder, name)[len(prefix) :] for folder, _, names in os.walk(self.path) for name in names]
        return {name: self.path / name for name in sorted(found)}

    @property
    def is_table(self) -> bool:
        """Say whether the artifact holds rows."""
        return (self.path / TABLE).is_file()

    def rows(self) -> pl.LazyFrame:
        """Return the artifact's table, read lazily."""
        if not self.is_table:
            message = f"input `{self.name}` is not a table"
            raise StepError(message, hint=f"it holds {', '.join(list(self.files())[:5])}")
        return read_rows(self.path)

    def figures(self) -> dict[str, float]:
        """Return the numbers that the artifact states of itself, by names joined by dots where they lie deeper."""
        found: dict[str, float] = {}
        for member in FIGURES:
            if (self.path / member).is_file():
                found = figures_in(member, self.json(member)) | found
        return found

    def json(self, member: str) -> Any:
        """Return one JSON member, parsed."""
        return json.loads((self.path / member).read_text(encoding="utf-8"))


def figures_in(member: str, value: Any) -> dict[str, float]:
    """Return the numbers of one member's JSON value, of a receipt those of its findings."""
    if member == RECEIPT:
        value = {finding["name"]: finding["value"] for finding in value["findings"]}
    found: dict[str, float] = {}
    for name, entry in value.items() if isinstance(value, dict) else ():
        if isinstance(entry, dict):
            found |= {f"{name}.{below}": number for below, number in figures_in("", entry).items()}
        elif isinstance(entry, int | float) and not isinstance(entry, bool):
            found[name] = entry
    return found


class Run(Protocol):
    """Let a step report to the build that runs it.

    ``scratch`` is a folder of the action's own: it outlives a crash and is removed once the result is stored.
    ``threads`` is how many cores the step may use.
    """

    threads: int

    @property
    def scratch(self) -> Path:
        """Return the action's own folder."""

    @property
    def traces(self) -> Path:
        """Return a folder beside the step's log for what differs from run to run (timings); part of no result."""

    @property
    def stopping(self) -> bool:
        """Say whether the step was asked to end early, by SIGTERM or SIGUSR1.

        From the first time that it is asked, both signals wait for the step to look: it saves what it goes on from
        in ``scratch`` and raises `forge.Interrupted`. A step that never asks ends at once.
        """

    def progress(self, done: float, total: float | None = None, **figures: float | str) -> None:
        """Report how far the work is, with figures worth watching (``loss=1.2``)."""

    def point(self, step: float, **figures: float) -> None:
        """Write one point of a curve to `metrics.jsonl` in ``traces``, and tell plugins that FORGE_METRICS names."""

    def log(self, message: str) -> None:
        """Write one line to the step's log."""

    def warn(self, message: str) -> None:
        """Write one line to the log and show it to the person who builds."""

    def bring(self, file: File, target: Path, *, link: bool = False) -> None:
        """Put a file that a parameter names at *target* as it is, cloned where the file system can.

        With *link* it may be the same file under a second name, where it can't be cloned; it then becomes read-only.
        """

    def drop(self, reason: str, count: int = 1, example: str = "") -> None:
        """Count rows that leave, for steps that the engine can't count itself."""

    def measure(self, **figures: float) -> None:
        """Take down what differs from machine to machine, like tokens a second: in the record, not the artifact."""


@attrs.define
class LocalRun:
    """Stand in for the engine: in tests of a step's class, and wherever nobody is watching."""

    scratch: Path
    threads: int = 2
    messages: list[str] = attrs.Factory(list)
    drops: dict[str, int] = attrs.Factory(dict)
    stopping: bool = False
    points: list[dict[str, float]] = attrs.Factory(list)
    measured: dict[str, float] = attrs.Factory(dict)

    @property
    def traces(self) -> Path:
        """Return a folder below the scratch folder."""
        folder = self.scratch / "traces"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def progress(self, done: float, total: float | None = None, **figures: float | str) -> None:
        """Forget the progress."""

    def point(self, step: float, **figures: float) -> None:
        """Keep the point."""
        self.points.append({"step": step, **figures})

    def log(self, message: str) -> None:
        """Keep the line."""
        self.messages.append(message)

    def warn(self, message: str) -> None:
        """Keep the line."""
        self.messages.append(message)

    def bring(self, file: File, target: Path, *, link: bool = False) -> None:
        """Put the file there."""
        place(file.path, target, link=link)

    def drop(self, reason: str, count: int = 1, example: str = "") -> None:
        """Count the rows, forget the example."""
        del example
        self.drops[reason] = self.drops.get(reason, 0) + count

    def measure(self, **figures: float) -> None:
        """Keep the figures."""
        self.measured |= figures


def place(source: Path, target: Path, *, link: bool = False) -> None:
    """Make *target* hold what *source* holds: a clone, a link where *link* allows it, or a copy."""
    with open(source, "rb", buffering=0) as whence:
        info = os.fstat(whence.fileno())
        with _made(target) as copy:
            if not _cloned(whence.fileno(), copy.fileno()):
                if link and _linked(source, target):
                    return
                _copy(whence, copy, info.st_size)
    if info.st_mode & stat.S_IXUSR:
        os.chmod(target, stat.S_IMODE(info.st_mode) | stat.S_IWUSR)


def _made(path: Path) -> FileIO:
    try:
        return FileIO(path, "x")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileIO(path, "x")


def _copy(source: FileIO, target: FileIO, size: int) -> None:
    done = 0
    try:
        while done < size and (piece := os.copy_file_range(source.fileno(), target.fileno(), _PIECE)):
            done += piece
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        import shutil

        shutil.copyfileobj(source, target)


def _cloned(source: int, target: int) -> bool:
    """Let two files share their blocks until one is written to; say whether the file system could."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _linked(source: Path, target: Path) -> bool:
    second = f"{target}.link"
    try:
        os.link(source, second)
    except OSError:
        return False
    os.unlink(target)  # a rename over a file makes ext4 write all of *source* out first
    os.rename(second, target)
    return True


def drop(rows: pl.LazyFrame, reasons: dict[str, pl.Expr]) -> pl.LazyFrame:
    """Mark rows to leave, each with the first reason whose expression is true for it.

    The rows stay in the frame until the engine takes them out and counts them, so a later expression
    of the same step still sees them; a row that is marked already keeps its reason.
    """
    import polars as pl

    columns = rows.collect_schema().names()
    first = [pl.col(DROPPED)] if DROPPED in columns else []
    marks = [pl.when(expression).then(pl.lit(reason)) for reason, expression in reasons.items()]
    return rows.with_columns(pl.coalesce(*first, *marks).cast(pl.String).alias(DROPPED))


def kept(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows that `drop` has not marked, without its column."""
    import polars as pl

    if DROPPED not in rows.collect_schema().names():
        return rows
    return rows.filter(pl.col(DROPPED).is_null()).drop(DROPPED)


def tally(rows: pl.LazyFrame, counts: dict[str, pl.Expr]) -> pl.LazyFrame:
    """Count what leaves inside of rows (turns, replies): one integer expression a reason, summed by the engine."""
    return rows.with_columns(expression.alias(TALLY + reason) for reason, expression in counts.items())
