"""Sources of many files, each read for itself: a file that has not changed is not read again.

A source's type says ``each_file=True`` where its rows are those of its files, one file after the other. What a file
gave is kept as a piece, by the file's name and bytes, the parameters and the code. Where the files' columns differ,
or one can't be read alone, the source reads all of them at once: only it knows how they go together.
"""

from __future__ import annotations

import io
import json
import os
from collections import deque
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.ahead import ahead
from forge.core.digest import digest_file, digest_value
from forge.core.errors import StepError
from forge.core.files import Files
from forge.plugin.protocols import Reject, Restart
from forge.run.intake import BARE, frame_of
from forge.store.pieces import Pieces
from forge.store.signatures import signature

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import polars as pl

    from forge.core.files import File
    from forge.run.job import Job
    from forge.run.ledger import Ledger
    from forge.store.base import Store

_FEW = 8
"""Files from which pieces are worth their place on the disk."""
_HEAD = 8
"""Bytes that say how long what stands before the rows is."""

_HELD = 1 << 30
"""Bytes of tables that are held until it is known that all files go together; what is beyond is found again."""


@attrs.frozen
class Shard:
    """Hold what one file gave, and what its reading told the ledger."""

    frame: pl.DataFrame
    rejects: tuple[Reject, ...]
    counted: dict[str, Any]


def read_files(instance: Any, job: Job, ledger: Ledger, store: Store) -> Iterator[Any]:
    """Yield what ``instance.read`` would yield, of files that are known without reading them."""
    field = _field(instance)
    files: Files = getattr(instance, field) if field else Files("")
    if len(files) < _FEW:
        yield from instance.read(ledger)
        return
    pieces, base = Pieces(store), _base(job, field)

    def shard_of(file: File) -> Shard | None:
        return _shard(instance, field, file, job, base, pieces, ledger)

    shards = _alike(ahead(shard_of, files, ledger.threads))
    if shards is None:
        yield from instance.read(ledger)
        return
    for done, file in enumerate(files, start=1):
        shard = shards.popleft() or shard_of(file)
        if shard is None:
            raise StepError(f"`{file.name}` changed while it was read", hint="build again")
        ledger.add(shard.counted)
        yield from shard.rejects
        yield shard.frame
        ledger.progress(done, len(files))


def _alike(shards: Iterator[Shard | None]) -> deque[Shard | None] | None:
    """Return the shards if all could be read alone, into the same columns; None for each that would be too much."""
    found: deque[Shard | None] = deque()
    schema, held = None, 0
    for shard in shards:
        if shard is None or (shard.frame.width and schema not in (None, shard.frame.schema)):
            return None
        if shard.frame.width:
            schema = shard.frame.schema
        held += int(shard.frame.estimated_size())
        found.append(shard if held <= _HELD else None)
    return found


def _field(instance: Any) -> str:
    """Return the parameter that holds the files; nothing where there are several."""
    fields = [f.name for f in attrs.fields(type(instance)) if isinstance(getattr(instance, f.name), Files)]
    return fields[0] if len(fields) == 1 else ""


def _base(job: Job, field: str) -> dict[str, Any]:
    """Return what a file's piece depends on besides the file."""
    import polars as pl

    others = {name: digest for name, digest in job.action["files"].items() if name != field}
    kept = {name: job.action[name] for name in ("engine", "use", "version", "params", "code", "facts")}
    return {**kept, "files": others, "polars": pl.__version__}


def _shard(  # what the file is read with
    instance: Any, field: str, file: File, job: Job, base: dict[str, Any], pieces: Pieces, ledger: Ledger
) -> Shard | None:
    """Return what a file gives, from its piece or read now; None where it can't be read alone."""
    digest = _digest(job, file)
    key = digest_value("shard 2", {**base, "name": file.name, "digest": digest})
    found = pieces.find(key)
    if found is not None:
        return _load(found)
    try:
        shard = _read(attrs.evolve(instance, **{field: Files(file.name, (file,))}), ledger.apart())
    except (StepError, ValueError, TypeError):  # the latter two as validators raise them, which may look into a file
        return None
    # what was written into the file meanwhile must not lie under what it held before
    if shard is not None and _digest(job, file) == digest:
        pieces.keep(key, lambda path: _save(shard, path))
    return shard


def _digest(job: Job, file: File) -> str:
    """Return the digest of a file's bytes, as the build found them where they have not changed since."""
    info = os.stat(file.path)
    seen = job.seen.get(str(file.path))
    if seen is not None and tuple(seen[2]) == signature(info):
        return str(seen[0])
    return digest_file(file.path, info.st_size)


def _read(instance: Any, ledger: Ledger) -> Shard | None:
    import polars as pl

    frames: list[pl.DataFrame] = []
    rejects: list[Reject] = []
    for item in instance.read(ledger):
        if isinstance(item, Reject):
            rejects.append(item)
        elif isinstance(item, Restart):
            frames, rejects = [], []
            ledger.forget()
        else:
            frames.append(frame_of(item))
    if bare := sum(frame.height for frame in frames if not frame.width):
        ledger.drop(BARE, bare)
    frames = [frame for frame in frames if frame.width and frame.height]
    if any(frame.schema != frames[0].schema for frame in frames):
        return None
    return Shard(pl.concat(frames) if frames else pl.DataFrame(), tuple(rejects), ledger.counted())


def _save(shard: Shard, path: Path) -> None:
    import polars as pl

    told = {"rejects": [attrs.astuple(reject) for reject in shard.rejects], "counted": shard.counted}
    head = json.dumps(told).encode()
    with path.open("wb") as file:
        file.write(len(head).to_bytes(_HEAD, "little") + head)
        if shard.frame.width:
            shard.frame.write_ipc(file, compression="lz4", compat_level=pl.CompatLevel.oldest())


def _load(path: Path) -> Shard:
    import polars as pl

    data = path.read_bytes()
    end = _HEAD + int.from_bytes(data[:_HEAD], "little")
    told = json.loads(data[_HEAD:end])
    frame = pl.read_ipc(io.BytesIO(data[end:])) if len(data) > end else pl.DataFrame()
    return Shard(frame, tuple(Reject(*values) for values in told["rejects"]), told["counted"])
