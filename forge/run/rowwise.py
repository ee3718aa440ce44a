"""Transforms that look at one row at a time: a row that was seen before is not worked on again.

A step type says ``rowwise=True`` where each row gives one row, whatever the others are, in their order; rows leave by
`forge.drop`. What the rows gave is kept as one piece for the parameters, code and columns, by a digest of each row,
so that of a table of which ten rows were edited ten go through the step.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from forge.core.digest import digest_value
from forge.core.errors import StepError
from forge.run.tables import lazy_of, run_plan
from forge.store.pieces import Pieces

if TYPE_CHECKING:
    import polars as pl

    from forge.run.job import Job
    from forge.store.base import Store

_SEEDS = 11, 21
"""Two seeds make 128 bits of each row's hash."""
_HASHES = ("__hash_a__", "__hash_b__")
_AT = "__at__"


def transform_rows(instance: Any, rows: pl.LazyFrame, job: Job, store: Store) -> pl.LazyFrame:
    """Return what ``instance.transform`` makes of *rows*; only those that are new or changed go through it."""
    import polars as pl

    frame = rows.collect()
    told = _with_signs_of_zeros(frame)
    hashes = pl.DataFrame(
        [told.hash_rows(seed).alias(name) for name, seed in zip(_HASHES, _SEEDS, strict=True)]
    ).with_row_index(_AT)
    pieces, key = Pieces(store), _key(job, frame)
    found = pieces.find(key)
    known = pl.read_ipc(io.BytesIO(found.read_bytes())) if found is not None else None
    whole = None
    if known is not None:
        old = hashes.join(known, on=_HASHES, how="inner", maintain_order="left").drop(_HASHES)
        missing = hashes.join(known.select(_HASHES), on=_HASHES, how="anti", maintain_order="left")[_AT]
        new = _transformed(instance, frame[missing], job) if len(missing) else old.clear().drop(_AT)
        if new.schema == old.drop(_AT).schema:
            whole = pl.concat([old, new.with_columns(missing).select(old.columns)]).sort(_AT).drop(_AT)
        if whole is not None and not len(missing) and known.height == whole.height:
            return whole.lazy()
    if whole is None:
        whole = _transformed(instance, frame, job)
    kept = pl.concat([hashes.drop(_AT), whole], how="horizontal").unique(_HASHES, keep="first", maintain_order=True)
    pieces.keep(key, lambda path: kept.write_ipc(path, compression="lz4", compat_level=pl.CompatLevel.oldest()))
    return whole.lazy()


def _with_signs_of_zeros(frame: pl.DataFrame) -> pl.DataFrame:
    """Return *frame* and, for each column of floats, where it holds `-0.0`: to a hash that is one with `0.0`."""
    import polars as pl

    signs = [_sign_of_zero(pl.col(name), kind) for name, kind in frame.schema.items()]
    return frame.with_columns(sign.alias(f"__zero_{n}__") for n, sign in enumerate(signs) if sign is not None)


def _sign_of_zero(value: pl.Expr, kind: pl.DataType) -> pl.Expr | None:
    """Return where a value of *kind* is a negative zero, None where it can't be one."""
    import polars as pl

    if kind.is_float():
        return (value == 0) & (1 / value < 0)
    if isinstance(kind, pl.List | pl.Array):
        inner = _sign_of_zero(pl.element(), kind.inner)  # type: ignore[arg-type]
        eval_each = value.list.eval if isinstance(kind, pl.List) else value.arr.eval
        return None if inner is None else eval_each(inner)
    if isinstance(kind, pl.Struct):
        signs = [_sign_of_zero(value.struct.field(f.name), f.dtype) for f in kind.fields]  # type: ignore[arg-type]
        there = [sign.alias(str(n)) for n, sign in enumerate(signs) if sign is not None]
        return pl.struct(there) if there else None
    return None


def _transformed(instance: Any, frame: pl.DataFrame, job: Job) -> pl.DataFrame:
    made = run_plan(lazy_of(job, instance.transform(frame.lazy())))
    if made.height != frame.height:
        raise StepError(
            f"`{job.use}` is registered as row-wise and made {made.height} rows of {frame.height}",
            hint="mark rows that leave by `forge.drop`, and make one row of each",
        )
    return made


def _key(job: Job, frame: pl.DataFrame) -> str:
    """Return the digest of all that a row's result depends on besides the row."""
    import polars as pl

    kept = {name: job.action[name] for name in ("engine", "use", "version", "params", "code", "facts", "files")}
    columns = [[name, str(kind)] for name, kind in frame.schema.items()]
    return digest_value("rows", {**kept, "columns": columns, "polars": pl.__version__})
