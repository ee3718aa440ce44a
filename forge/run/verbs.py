"""Run a step type's method: read or fetch, transform, merge, split or make, label, train, export, check."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.digest import digest_file
from forge.core.errors import CheckFailed, StepError
from forge.core.step import PREVIOUS
from forge.plugin.registry import MOST_REJECTS
from forge.plugin.table import TABLE, read_rows, scan_rows, write_rows
from forge.run.network import kept_off
from forge.run.rowwise import transform_rows
from forge.run.tables import (
    count_rows,
    join_tables,
    lazy_of,
    missing,
    other_type,
    refuse_marks,
    settle,
    settle_parts,
    spans_of,
)
from forge.run.writing import TableWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import polars as pl

    from forge.core.artifact import Tree
    from forge.plugin.context import Artifact
    from forge.plugin.protocols import Finding
    from forge.plugin.registry import StepType
    from forge.run.job import Job
    from forge.run.ledger import Ledger
    from forge.store.base import Store, StoredTree

RECEIPT = "receipt.json"
STATISTICS = "stats.json"


@attrs.frozen
class Work:
    """Hold what a method works on: the instance, its inputs in order, and the folder to fill."""

    job: Job
    type: StepType
    instance: Any
    inputs: dict[str, Artifact]
    trees: Mapping[str, Tree | StoredTree]
    out: Path
    ledger: Ledger
    store: Store

    @cached_property
    def heights(self) -> dict[str, int]:
        """Return the rows of each input that is a table."""
        return {name: n for name, each in self.inputs.items() if (n := count_rows(each.path)) is not None}

    @property
    def rows_in(self) -> int | None:
        """Return the rows of all inputs that are tables."""
        return sum(self.heights.values()) if self.heights else None


def perform(work: Work) -> dict[str, int]:
    """Do the step's work and return the rows of each part that is a table (``""`` for the whole)."""
    with nullcontext() if work.job.network else kept_off(work.job.step):
        rows = attempt(work)
    for part, count in rows.items():
        if count == 0:
            raise _no_rows(work, part)
    if not any(_folder(work).iterdir()):
        raise StepError(f"step `{work.job.step}` made no files")
    return rows


def attempt(work: Work) -> dict[str, int]:
    """Do the step's work as `perform` does, and let it leave no rows."""
    return _VERBS[work.job.verb](work)


def _read(work: Work) -> dict[str, int]:
    from forge.run.intake import bound_rejects, take_in, write_rejects  # of no use to a worker that runs commands
    from forge.run.shards import read_files

    batches = read_files(work.instance, work.job, work.ledger, work.store) if work.type.each_file else None
    intake = take_in(batches or work.instance.read(work.ledger), work.out, work.ledger, work.instance)
    refuse_marks(intake.columns)
    most = getattr(work.instance, "most_rejects", MOST_REJECTS)
    bound_rejects(intake.rejects, intake.rows, most, work.instance)
    write_rejects(intake.rejects, work.out)
    if intake.rows:
        _describe(work, lambda: read_rows(work.out))
    return {"": intake.rows}


def _fetch(work: Work) -> dict[str, int]:
    work.instance.fetch(work.out, work.ledger)
    return _tables_in(_folder(work))


def _transform(work: Work) -> dict[str, int]:
    joined = join_tables({name: artifact.rows() for name, artifact in work.inputs.items()})
    only = _only(work)
    if work.type.in_parts and len(spans := spans_of(work.rows_in or 0, _bytes_in(work.inputs.values()))) > 1:
        part = (
            partial(read_rows, only.path)
            if only is not None
            else join_tables({name: scan_rows(artifact.path) for name, artifact in work.inputs.items()}).slice
        )
        parts = ((part(*span), span[1]) for span in spans)
        return _in_parts(work, ((work.instance.transform(rows), (rows, height)) for rows, height in parts), only)
    made = (
        transform_rows(work.instance, joined, work.job, work.store)
        if work.type.rowwise
        else lazy_of(work.job, work.instance.transform(joined))
    )
    return _table(work, settle(made, work.rows_in, work.ledger, work.job.use, joined), only)


def _only(work: Work) -> Artifact | None:
    """Return the step's input where it has one alone."""
    return next(iter(work.inputs.values())) if len(work.inputs) == 1 else None


def _merge(work: Work) -> dict[str, int]:
    frame = lazy_of(work.job, work.instance.merge({name: artifact.rows() for name, artifact in work.inputs.items()}))
    if work.type.in_parts:
        spans = [
            (name, artifact.path, span)
            for name, artifact in work.inputs.items()
            for span in spans_of(work.heights[name], _bytes_in([artifact]))
        ]
        if len(spans) > len(work.inputs):
            frame.collect_schema()  # inputs that don't go together are told of before any work
            parts = ({name: read_rows(path, *span)} for name, path, span in spans)
            return _in_parts(work, ((work.instance.merge(rows), None) for rows in parts))
    return _table(work, settle(frame, work.rows_in, work.ledger, work.job.use))


def _in_parts(
    work: Work, made: Iterable[tuple[Any, tuple[pl.LazyFrame, int] | None]], source: Artifact | None = None
) -> dict[str, int]:
    """Write a table while its parts are made of the table *source*; `settle_parts` says what each is given with."""
    parts = ((lazy_of(work.job, part), rows) for part, rows in made)
    settled = (frame for frame in settle_parts(parts, work.rows_in or 0, work.ledger, work.job.use) if frame.height)
    first = next(settled, None)
    if first is None:
        return {"": 0}
    with _writer(work, first.schema, source) as writer:
        rows = 0
        for frame in chain([first], settled):
            if frame.schema != first.schema:
                raise StepError(
                    f"`{work.job.use}` makes tables of other columns of some rows than of others",
                    hint="give its columns types that hang on no row, or register it without `in_parts`",
                )
            rows += frame.height
            if not writer.give(frame):
                break
    _describe(work, lambda: read_rows(work.out))
    return {"": rows}


def _bytes_in(artifacts: Iterable[Artifact]) -> int:
    """Return how large the files of tables are."""
    return sum(os.path.getsize(artifact.path / TABLE) for artifact in artifacts)


def _split(work: Work) -> dict[str, int]:
    source = next(iter(work.inputs.values())).rows()
    parts = work.instance.split(source)
    if not isinstance(parts, Mapping):
        raise other_type(work.job, parts, "a dict of LazyFrames")
    parts = {name: lazy_of(work.job, frame, f" as part `{name}`") for name, frame in parts.items()}
    settled = {name: settle(frame, None, work.ledger, work.job.use) for name, frame in parts.items()}
    rows = {name: write_rows(frame, work.out / name) for name, frame in settled.items()}
    left = (work.rows_in or 0) - sum(rows.values()) - sum(work.ledger.drops.values())
    if left > 0:
        examples = missing(source, list(settled.values()), left) if not work.ledger.drops else []
        work.ledger.drop("in no part", left, *examples[:1])
    return rows


def _make(work: Work) -> dict[str, int]:
    work.instance.make(work.inputs, work.out, work.ledger)
    rows = _tables_in(_folder(work))
    left = (work.rows_in or 0) - sum(rows.values()) - sum(work.ledger.drops.values())
    if rows and left > 0:
        work.ledger.drop(f"not passed on by {work.job.use}", left)
    return rows


def _label(work: Work) -> dict[str, int]:
    source = next(iter(work.inputs.values())).rows()
    made = lazy_of(work.job, work.instance.label(source))
    return _table(work, settle(made, work.rows_in, work.ledger, work.job.use, source))


def _request(work: Work) -> dict[str, int]:
    from forge.run.labels import Incomplete, label_rows
    from forge.store.journal import Journal

    journal = Journal(work.store.root / "journals")
    source = next(iter(work.inputs.values())).rows().collect()
    try:
        labelled = label_rows(work.instance, source, journal, work.ledger)
    except Incomplete as failure:
        work.store.write_json(work.store.root / "builds" / "failed" / f"{work.job.key}.json", failure.report)
        raise
    return _table(work, labelled)


def _train(work: Work) -> dict[str, int]:
    work.instance.train(work.inputs, work.out, work.ledger)
    return {}


def _export(work: Work) -> dict[str, int]:
    work.instance.export(work.inputs, work.out, work.ledger)
    return _tables_in(_folder(work))


def _check(work: Work) -> dict[str, int]:
    findings = list(work.instance.check(work.inputs, work.out, work.ledger))
    receipt = receipt_of(work.job.use, work.instance, findings, work.inputs, work.trees)
    receipt["evidence"] = evidence_of(_folder(work))
    (work.out / RECEIPT).write_text(json.dumps(receipt, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    failed = [f for f in findings if not f.passed]
    if failed:
        failures = work.store.root / "builds" / "failed"
        work.store.write_json(failures / f"{work.job.key}.json", receipt)
        lines = "".join(
            f"\n  {f.name}: {shown(f.value)}, required {shown(f.bound)}{f' ({f.detail})' if f.detail else ''}"
            for f in failed
        )
        bounds = sum(f.bound is not None or not f.passed for f in findings)
        broken = f"{len(failed)} of {bounds} bounds {'is' if len(failed) == 1 else 'are'} broken"
        raise CheckFailed(
            f"check `{work.job.step}` failed: {broken}{lines}",
            hint="what was checked is in the store, `forge show` prints the whole receipt",
        )
    return {}


_VERBS = {
    "read": _read,
    "fetch": _fetch,
    "transform": _transform,
    "merge": _merge,
    "split": _split,
    "make": _make,
    "label": _label,
    "request": _request,
    "train": _train,
    "export": _export,
    "check": _check,
}


def receipt_of(
    use: str,
    instance: Any,
    findings: list[Finding],
    inputs: Mapping[str, Artifact],
    trees: Mapping[str, Tree | StoredTree],
) -> dict[str, Any]:
    """Return a check's findings, bound to the digests of all files it was given; ``subjects`` are those it judges.

    A class names its subjects by a method ``subjects(inputs)``; without one it judges all it is given.
    """
    files = {name: {n: m.digest for n, m in sorted(tree.members.items())} for name, tree in trees.items()}
    named = getattr(instance, "subjects", None)
    chosen = {Path(path) for path in named(inputs)} if callable(named) else None
    subjects = {
        member: digest
        for name, members in files.items()
        for member, digest in members.items()
        if (name != PREVIOUS if chosen is None else inputs[name].path / member in chosen)
    }
    return {
        "check": use,
        "passed": all(f.passed for f in findings),
        "findings": [attrs.asdict(f) for f in findings],
        "subjects": subjects,
        "inputs": {name: {"digest": tree.digest, "files": files[name]} for name, tree in trees.items()},
    }


def evidence_of(folder: Path) -> dict[str, str]:
    """Return the digests of what a check left beside its receipt, by name."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: digest_file(path, path.stat().st_size) for name, path in sorted(files.items()) if name != RECEIPT}


def shown(value: Any) -> str:
    """Return a figure as people write it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(work: Work, frame: pl.DataFrame, source: Artifact | None = None) -> dict[str, int]:
    """Write the rows of *frame*, made of the table *source*, and describe them."""
    if frame.height == 0:
        return {"": 0}
    with _writer(work, frame.schema, source) as writer:
        writer.give(frame)
        _describe(work, frame.lazy)
    return {"": frame.height}


@contextmanager
def _writer(work: Work, schema: pl.Schema, source: Artifact | None) -> Iterator[TableWriter]:
    """Give what writes the step's table, made of that of *source*; one that is the same file is not hashed again."""
    with TableWriter(schema, work.out, source.path if source else None) as writer:
        yield writer
    if source is not None and writer.kept:
        work.ledger.keep(work.out / TABLE, work.trees[source.name].members[TABLE].digest)


def _describe(work: Work, rows: Callable[[], pl.LazyFrame]) -> None:
    """Write the statistics of a table beside it, where the step type gives some."""
    describe = getattr(work.instance, "statistics", None)
    if callable(describe):
        statistics: Mapping[str, Any] = describe(rows())
        (work.out / STATISTICS).write_text(
            json.dumps(statistics, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
        )


def _folder(work: Work) -> Path:
    """Return the folder that the step was given to fill, if it still is one."""
    if not work.out.is_dir():
        how = "put a file in the place of its folder" if work.out.exists() else "took its folder away"
        raise StepError(f"the step {how}", hint="fill the folder that it is given")
    return work.out


def _tables_in(folder: Path) -> dict[str, int]:
    """Return the rows of the tables in *folder* and in the folders directly below it."""
    found = {"": count_rows(folder)} | {p.name: count_rows(p) for p in sorted(folder.iterdir()) if p.is_dir()}
    return {name: count for name, count in found.items() if count is not None}


def _no_rows(work: Work, part: str) -> StepError:
    what = f"part `{part}`" if part else "it"
    drops = sorted(work.ledger.drops.items(), key=lambda item: -item[1])
    reasons = "".join(f"\n  {count} × {reason}" for reason, count in drops)
    came = f" of {work.rows_in} that came in" if work.rows_in is not None else ""
    hint = "`forge show` on the step before shows its rows"
    if work.job.kind == "source":
        hint = "its files hold nothing that can be used: look at them, and at the pattern that names them"
    return StepError(f"{what} has no rows left{came}{reasons}", hint=hint)
