"""Take in what a source reads: its tables are written while it reads on, its rejects counted and bounded."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.errors import StepError
from forge.core.files import Files
from forge.plugin.table import REJECTS, TABLE, read_rows, write_parts
from forge.run.writing import TableWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import polars as pl

    from forge.plugin.protocols import Reject, Restart
    from forge.run.ledger import Ledger

CANT_BE_USED = "can't be used: `forge show` says why, the log names each"
_ESTIMATED = " (a whole file, its records by its bytes)"
BARE = "record without a field"
_EXCERPT = 160
"""Characters of a record that its reject keeps."""


@attrs.define
class Intake:
    """Hold what came of the items that a source yielded: *rows* of the table, its *columns*, and the *rejects*."""

    ledger: Ledger
    rows: int = 0
    columns: tuple[str, ...] = ()
    rejects: list[Reject] = attrs.Factory(list)

    def frames(self, items: Iterable[Any], source: Any = None) -> Iterator[pl.DataFrame | Restart]:
        """Yield the frames among *items* that have rows, and each restart; keep the rejects, and count them at the end.

        A file that can't be used counts as the records that it would hold (see `lost_records`).
        """
        from forge.plugin.protocols import Reject, Restart

        bare = 0
        for item in items:
            if isinstance(item, Reject):
                self.rejects.append(item)
                self.ledger.log(f"rejected {place_of(item)}: {item.reason}")
                continue
            if isinstance(item, Restart):
                self.ledger.log(f"read again from the first record on: {item.reason}")
                self.rows, bare = 0, 0
                self.rejects.clear()
                self.ledger.forget()
                yield item
                continue
            frame = frame_of(item)
            if frame.width and frame.height:
                self.rows += frame.height
                yield frame
            elif not frame.width:
                bare += frame.height
        self._count(bare, source)

    def _count(self, bare: int, source: Any) -> None:
        """Tell the ledger of *bare* records, which have no field, and of the rejects."""
        if bare:
            self.ledger.drop(BARE, bare)
        for reject in (reject for reject in self.rejects if reject.index is not None):
            self.ledger.drop(reject.reason, 1, _told(reject))
        if self.rejects:
            lost = lost_records(self.rejects, self.rows, source)
            for reject in (reject for reject in self.rejects if reject.index is None):
                count = lost[reject.where]
                self.ledger.drop(f"{reject.reason}{_ESTIMATED if count > 1 else ''}", count, _told(reject))
            self.ledger.warn(f"{_unusable(self.rejects, sum(lost.values()))} {CANT_BE_USED}")


def frame_of(item: Any) -> pl.DataFrame:
    """Return what a source yielded beside its rejects as a frame, without columns where no row of it has a field."""
    import polars as pl

    if not isinstance(item, pl.DataFrame | list):
        found = f"the class `{item.__name__}`" if isinstance(item, type) else f"`{type(item).__name__}`"
        raise StepError(f"a source yields frames, lists of dicts, rejects and restarts, not {found}")
    return pl.DataFrame(item, infer_schema_length=None) if isinstance(item, list) else item


def collect_batches(items: Iterable[Any], ledger: Ledger, source: Any = None) -> tuple[pl.DataFrame, list[Reject]]:
    """Join the batches of a source into one frame; rejects are counted by the ledger and returned."""
    import polars as pl

    intake = Intake(ledger)
    frames = _standing(intake.frames(items, source))
    return _joined(frames) if frames else pl.DataFrame(), intake.rejects


def take_in(items: Iterable[Any], folder: Path, ledger: Ledger, source: Any = None) -> Intake:
    """Make *folder* a table of what a source yields, as `collect_batches` joins it.

    A frame is written while the source reads the next, for as long as all have the same columns.
    """
    intake = Intake(ledger)
    intake.columns = _write(intake.frames(items, source), folder)
    return intake


def _write(frames: Iterator[pl.DataFrame | Restart], folder: Path) -> tuple[str, ...]:
    """Make *folder* a table of *frames*, without those before a restart, and return its columns, none without rows."""
    import polars as pl

    for first in frames:
        if not isinstance(first, pl.DataFrame):
            continue
        other = _write_alike(first, frames, folder)
        if other is None:
            return tuple(first.columns)
        standing = []
        if isinstance(other, pl.DataFrame):
            standing = _standing(chain([read_rows(folder).collect(), other], frames))
        (folder / TABLE).unlink()
        if standing:
            joined = _joined(standing)
            write_parts(iter([joined]), joined.schema, folder)
            return tuple(joined.columns)
    return ()


def _write_alike(
    first: pl.DataFrame, frames: Iterator[pl.DataFrame | Restart], folder: Path
) -> pl.DataFrame | Restart | None:
    """Write *first* and those of *frames* after it that have its columns; return the first thing that is another."""
    import polars as pl

    with TableWriter(first.schema, folder) as writer:
        writer.give(first)
        for frame in frames:
            if not isinstance(frame, pl.DataFrame) or frame.schema != first.schema:
                return frame
            if not writer.give(frame):
                break
    return None


def _standing(frames: Iterable[pl.DataFrame | Restart]) -> list[pl.DataFrame]:
    """Return the frames that no restart takes back."""
    import polars as pl

    found: list[pl.DataFrame] = []
    for frame in frames:
        if isinstance(frame, pl.DataFrame):
            found.append(frame)
        else:
            found.clear()
    return found


def _joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise StepError(
            f"the files have columns of one name that don't go together: {error}",
            hint="read them by sources of their own",
        ) from None


def _told(reject: Reject) -> str:
    return f"{place_of(reject)} {reject.excerpt}".strip()


def _unusable(rejects: Sequence[Reject], lost: int) -> str:
    """Count rejected records, and files of which nothing could be read and which would hold *lost* records."""
    files = sum(reject.index is None for reject in rejects)
    counts = ((len(rejects) - files, "record"), (files, "file"))
    told = " and ".join(f"{count:,} {what}{'s' if count > 1 else ''}" for count, what in counts if count)
    return f"{told} (by {'their' if files > 1 else 'its'} bytes some {lost:,} records)" if lost > files else told


def lost_records(rejects: Sequence[Reject], rows: int, source: Any) -> dict[str, int]:
    """Return how many records each file that can't be used would hold, by its bytes and those of the files of *source*.

    One at least, and one where the others hold no more than one each.
    """
    lost = dict.fromkeys((reject.where for reject in rejects if reject.index is None), 1)
    sizes = _sizes(source) if lost else {}
    good = [size for name, size in sizes.items() if name not in lost]
    held = rows + sum(reject.index is not None for reject in rejects)
    if held <= len(good) or not sum(good):
        return lost
    return {name: max(1, round(sizes.get(name, 0) * held / sum(good))) for name in lost}


def _sizes(source: Any) -> dict[str, int]:
    """Return the bytes of the files of *source* by their names."""
    fields = (getattr(source, each.name) for each in attrs.fields(type(source))) if attrs.has(type(source)) else ()
    given = [file for value in fields if isinstance(value, Files) for file in value]
    own = getattr(source, "files", None)
    return {file.name: file.path.stat().st_size for file in given or (own() if callable(own) else ())}


def place_of(reject: Reject) -> str:
    """Return where a rejected record stands."""
    return reject.where if reject.index is None else f"{reject.where}:{reject.index}"


def bound_rejects(rejects: list[Reject], rows: int, most: float, source: Any = None) -> None:
    """Refuse a *source* of whose records a greater share than *most* is rejected.

    A single one never ends a run, unless *most* is 0; a file that can't be used counts as the records that it would
    hold.
    """
    from collections import Counter

    lost = lost_records(rejects, rows, source)
    count = sum(reject.index is not None for reject in rejects) + sum(lost.values())
    total = rows + count
    allowed = max(1, int(most * total)) if most > 0 else 0
    if count <= allowed:
        return
    counts = Counter(reject.reason for reject in rejects)
    first = {reject.reason: reject for reject in reversed(rejects)}
    reasons = "".join(
        f"\n  {times} × {reason}, first {place_of(first[reason])}" for reason, times in counts.most_common()
    )
    files = f"{len(lost)} file{'s' if len(lost) > 1 else ''} that can't be used"
    told = f"{count:,} of {total:,} records are rejected"
    if sum(lost.values()) > len(lost):
        told = f"some {told}, by the bytes of {files}"
    raise StepError(
        f"{told}, `most_rejects` is {most:g}{reasons}",
        hint="the step's log names each of them; mend the files, or raise `most_rejects`",
    )


def write_rejects(rejects: list[Reject], folder: Path) -> None:
    """Write the table of rejected records beside the rows: ``file, index, reason, excerpt``."""
    import polars as pl

    if not rejects:
        return
    table = [(_sound(r.where), r.index, _sound(r.reason), _sound(r.excerpt)[:_EXCERPT]) for r in rejects]
    schema = {"file": pl.String, "index": pl.Int64, "reason": pl.String, "excerpt": pl.String}
    frame = pl.DataFrame(table, schema=schema, orient="row")
    frame.write_ipc(folder / REJECTS, compression="uncompressed", compat_level=pl.CompatLevel.oldest())


def _sound(text: str) -> str:
    return text.encode(errors="replace").decode()
