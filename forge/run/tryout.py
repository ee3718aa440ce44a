"""Try one step on sample rows, and say in words what became of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.errors import ForgeError, StepError
from forge.core.files import Files
from forge.core.suggest import did_you_mean
from forge.plugin.protocols import Notice, Reject, Restart
from forge.plugin.registry import MOST_REJECTS
from forge.plugin.table import write_rows
from forge.run.intake import CANT_BE_USED, bound_rejects, collect_batches
from forge.run.job import Job
from forge.run.labels import Incomplete
from forge.run.verbs import Work, attempt, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from forge.plugin.context import Artifact
    from forge.plugin.registry import StepType
    from forge.run.ledger import Ledger
    from forge.store.base import Store

TRIED = ("read", "transform", "merge", "split", "label", "request", "check")
"""Methods that turn rows into rows and touch nothing else: these may be tried on a sample."""
_FILES = 64
"""Of more files than these, a sample is read."""
_REASONS = 3


@attrs.define
class Try:
    """Hold one attempt: what the step is shown, and where it leaves what stands for its artifact.

    ``whole`` says that all rows there will be were shown; ``short`` that a larger sample may tell more.
    """

    name: str
    type: StepType
    instance: Any
    inputs: Mapping[str, Artifact]
    whole: bool
    out: Path
    ledger: Ledger
    sample: int
    short: bool = False

    @property
    def columns(self) -> list[str]:
        """Return the columns that come in."""
        tables = [a for a in self.inputs.values() if a.is_table]
        return list(dict.fromkeys(c for table in tables for c in table.rows().collect_schema().names()))


def try_step(tried: Try, store: Store, root: str, modules: Mapping[str, str]) -> list[Notice]:
    """Do the step's work on the sample; *store* is one to lose."""
    try:
        if tried.type.verb == "read":
            return _read(tried)
        if tried.type.verb == "check":
            return _check(tried)
        work = Work(
            _job(tried, store, root, modules), tried.type, tried.instance, dict(tried.inputs), {}, tried.out,
            tried.ledger, store,
        )  # fmt: skip
        rows = attempt(work)
        return [*_counted(tried, rows, work.rows_in), *_warnings(tried)]
    except Exception as error:  # noqa: BLE001  # the boundary: whatever a plugin raises on real rows, it raises in a build
        tried.short = not tried.whole
        found = complaint(error, tried) or Notice("rows", "bad", f"{type(error).__name__}: {error}")
        # how many rows have a label is a matter of all of them
        return [attrs.evolve(found, state="doubtful") if tried.short and isinstance(error, Incomplete) else found]


def complaint(error: Exception, tried: Try) -> Notice | None:
    """Return an expected failure as a notice, and None for a bug; a column that is not there gets a hint."""
    if isinstance(error, ForgeError):
        return Notice("rows", "bad", error.message, _nearest_column(error, tried) or error.hint)
    if isinstance(error, ImportError):
        return Notice("packages", "bad", f"can't be imported: {error}", "install it again, for this machine")
    if type(error).__module__.startswith("polars"):
        first = str(error).strip().partition("\n")[0]
        if type(error).__name__ == "ColumnNotFoundError":
            name = next(iter(re.findall(r'"([^"]+)"', first)), first)
            there = tried.columns
            if name not in there:
                return Notice("columns", "bad", f"there is no column `{name}`", did_you_mean(name, there))
        return Notice("rows", "bad", f"{type(error).__name__}: {first}")
    return None


def _nearest_column(error: ForgeError, tried: Try) -> str | None:
    """Return a hint at the column that was meant, where the error names one that is not there."""
    named = re.search(r"no column `([^`]+)`", error.message)
    if named is None or not isinstance(error, StepError) or "did you mean" in (error.hint or ""):
        return None
    hint = did_you_mean(named[1], tried.columns)
    return hint if hint is not None and hint.startswith("did you mean") else None


def _read(tried: Try) -> list[Notice]:
    """Read the first rows of a source, of many files some from all over."""
    instance, whole, files = _fewer_files(tried)
    taken: list[Any] = []
    count = 0
    items: Iterator[Any] = iter(instance.read(tried.ledger))
    for item in items:
        if isinstance(item, Restart):
            taken, count = [], 0
            tried.ledger.forget()
            continue
        taken.append(item)
        count += 1 if isinstance(item, Reject) else len(item)
        if count > tried.sample:
            whole = False
            break
    close = getattr(items, "close", None)
    if callable(close):
        close()
    frame, rejects = collect_batches(taken, tried.ledger, instance if whole else None)
    if whole:
        bound_rejects(rejects, frame.height, getattr(instance, "most_rejects", MOST_REJECTS), instance)
    tried.whole = whole
    frame = frame.head(tried.sample)
    if frame.height:
        write_rows(frame, tried.out)
    return [*_counted(tried, {"": frame.height}, None, files), *_warnings(tried)]


def _fewer_files(tried: Try) -> tuple[Any, bool, str]:
    """Return the source with some of its many files, whether these are all, and how many they are in words."""
    fields = [f.name for f in attrs.fields(type(tried.instance)) if isinstance(getattr(tried.instance, f.name), Files)]
    files: Files = getattr(tried.instance, fields[0]) if len(fields) == 1 else Files("")
    if not tried.type.each_file or len(files) <= _FILES:
        return tried.instance, True, ""
    every = len(files) // _FILES
    some = Files(files.pattern, tuple(files)[::every])
    return attrs.evolve(tried.instance, **{fields[0]: some}), False, f" of {len(some):,} of {len(files):,} files"


def _check(tried: Try) -> list[Notice]:
    """Let a check look at the sample; its figures mean something where all rows are there."""
    findings = list(tried.instance.check(tried.inputs, tried.out, tried.ledger))
    if not tried.whole:
        return [Notice("figures", message=f"{len(findings)} can be computed; all rows will judge them")]
    failed = [f for f in findings if not f.passed]
    return [
        Notice("figures", "bad", f"`{f.name}` is {shown(f.value)}, required {shown(f.bound)}", f.detail or None)
        for f in failed
    ] or [Notice("figures", message=f"{len(findings)} figures within their bounds")]


def _counted(tried: Try, rows: Mapping[str, int], rows_in: int | None, more: str = "") -> Iterator[Notice]:
    """Yield what became of the rows; none left is a finding, a sure one where all rows were shown."""
    drops = sorted(tried.ledger.drops.items(), key=lambda item: -item[1])
    reasons = ", ".join(f"{count:,} × {reason}" for reason, count in drops[:_REASONS])
    reasons = f"; left out: {reasons}" if reasons else ""
    came = f" of {rows_in:,}" if rows_in is not None else ""
    empty = [part for part, count in rows.items() if not count]
    for part in empty:
        what = f"part `{part}`" if part else "it"
        if tried.whole:
            hint = "the step would fail: nothing can be made of no rows"
            yield Notice("rows", "bad", f"{what} has no rows left{came}{reasons}", hint)
        else:
            tried.short = True
            hint = "a build reads all of them: look at what takes them out"
            yield Notice("rows", "doubtful", f"{what} has no rows left of the sample{came}{reasons}", hint)
    if not empty and rows:
        total = sum(rows.values())
        parts = ", ".join(f"{part} {count:,}" for part, count in rows.items() if part)
        said = f"{total:,}{came} rows" + (f" ({parts})" if parts else "")
        first = "the first " if rows_in is None and not tried.whole else ""
        yield Notice("rows", message=f"{first}{said}{more}{reasons}")


def _warnings(tried: Try) -> Iterator[Notice]:
    """Yield what the step warned of."""
    for message in tried.ledger.warnings:
        if CANT_BE_USED not in message:  # counted with the rows already
            yield Notice("warning", "doubtful", message)


def _job(tried: Try, store: Store, root: str, modules: Mapping[str, str]) -> Job:
    """Return a job whose key is in no store."""
    action = {
        "engine": 0,
        "use": tried.type.use,
        "version": tried.type.version,
        "params": {"of": tried.name},
        "inputs": [],
        "files": {},
        "code": {},
        "facts": {},
    }
    return Job(
        key=f"try-{tried.name}",
        step=tried.name,
        kind=tried.type.kind,
        use=tried.type.use,
        verb=tried.type.verb,
        spec={},
        inputs=[],
        action=action,
        code={},
        root=root,
        store=str(store.root),
        threads=tried.ledger.threads,
        network=False,
        modules=dict(modules),
        seen={},
    )
