"""Follow one row through the tables of a lineage: where it came from, what became of it, and who labelled it how.

A row is known by the value of one column, the same in each table. Nothing of it is recorded beside the tables: where
a row is missing, the record's reasons and examples are asked, and else the step is repeated if its code is as it was.
"""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import attrs

from forge.core.action import module_digests
from forge.core.errors import ForgeError, Refused, UsageError
from forge.plugin.context import DROPPED
from forge.plugin.fingerprint import describe, digest_data, fingerprint
from forge.plugin.parameters import structure
from forge.plugin.requests import ballots, request_key
from forge.plugin.table import TABLE
from forge.run.asking import again, reply_of
from forge.run.tables import join_tables
from forge.run.verify import _spec
from forge.store.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from forge.core.artifact import Member
    from forge.core.record import Record
    from forge.plugin.discovery import Registry
    from forge.store.lineage import Lineage, Link

_LONGEST_NAME = 300  # characters of a value that may be a file's name


@attrs.frozen
class Asked:
    """Hold one request about a row: its digest in the journal, the model that answered, the raw reply.

    ``refused`` says why the reply was not used; all but the digest are None where no reply is written down.
    """

    request: str
    model: str | None = None
    reply: str | None = None
    refused: str | None = None


@attrs.frozen
class Sighting:
    """State what one step did with the row.

    ``dropped`` says why it left, or which reasons it may have had; ``files`` are the raw files it may have come from,
    by their names, and ``by`` says how they were told; ``asked`` are a labeler's requests, ``note`` says why they or a
    reason are not known.
    """

    record: Record
    part: str
    state: Literal["here", "dropped", "unknown"]
    row: Mapping[str, Any] = attrs.Factory(dict)
    count: int = 1
    dropped: Sequence[str] = ()
    by: str = ""
    files: Mapping[str, Member] = attrs.Factory(dict)
    asked: Sequence[Asked] = ()
    note: str = ""


@attrs.define
class _Trace:
    lineage: Lineage
    registry: Registry
    column: str
    value: str
    here: dict[tuple[str, str], Mapping[str, Any]] = attrs.Factory(dict)
    columns: set[str] = attrs.Factory(set)

    def step(self, link: Link) -> Iterator[Sighting]:
        """Yield what the step did with the row; nothing where it never came in."""
        record, tables = link.record, self._tables(link.record)
        came = [made for made in link.inputs.values() if made is not None and (made.key, made.part) in self.here]
        found = {part: rows for part, path in tables.items() if (rows := self._find(path))}
        for part, (row, count) in found.items():
            self.here[record.key, part] = row
            files, by = _origin(row, link) if record.kind == "source" else ({}, "")
            asked: Sequence[Asked] = ()
            note = ""
            if record.kind == "labeler" and came:
                asked, note = self._asked(record, self.here[came[0].key, came[0].part])
            yield Sighting(record, part, "here", row, count, (), by, files, asked, note)
        if came and tables and not found and record.kind != "check":
            if not any(self.column in _columns(path) for path in tables.values()):
                yield Sighting(
                    record, "", "dropped", note=f"its table has no column `{self.column}`: rows have no name"
                )
                return
            reasons, by = self._reasons(record)
            yield Sighting(record, "", "dropped", dropped=reasons, by=by)

    def _tables(self, record: Record) -> dict[str, Path]:
        store = self.lineage.store
        tree = store.complete(record.tree)
        members = {part: tree.part(part).members.get(TABLE) for part in record.rows} if tree is not None else {}
        return {part: store.object_path(m.digest) for part, m in members.items() if m is not None}

    def _find(self, path: Path) -> tuple[Mapping[str, Any], int] | None:
        import polars as pl

        names = _columns(path)
        self.columns |= names
        if self.column not in names:
            return None
        frame = pl.scan_ipc(path)
        kind = frame.collect_schema()[self.column]
        if kind.is_nested():
            return None
        rows = frame.filter(pl.col(self.column).cast(pl.String) == self.value).collect()
        return (rows.row(0, named=True), rows.height) if rows.height else None

    def _reasons(self, record: Record) -> tuple[list[str], str]:
        """Return why the row left, or all that it may have left for, and how that is known."""
        reasons = list(record.drops)
        if len(reasons) <= 1:
            return reasons, "the only reason that rows left for" if reasons else "the record has no reason"
        mark = json.dumps({self.column: self.value}, ensure_ascii=False)[1:-1]
        named = [r for r, lines in record.examples.items() if any(mark in line for line in lines)]
        if len(named) == 1:
            return named, "an example in the record"
        again = self._repeat(record)
        return ([again], "the step, repeated") if again is not None else (reasons, "one of these")

    def _repeat(self, record: Record) -> str | None:
        """Run a step of rows again and return the reason that it marks the row with, if it can be told."""
        import polars as pl

        try:
            found = self.registry.find(record.use)
            if found.verb != "transform" or self._instance(record) is None:
                return None
            trees = {name: self.lineage.store.tree(digest) for name, digest in record.inputs.items()}
            paths = {name: self.lineage.store.object_path(tree.members[TABLE].digest) for name, tree in trees.items()}
            tables = {name: pl.scan_ipc(path) for name, path in paths.items()}
            marked = self._instance(record).transform(join_tables(tables))
            rows = marked.filter(pl.col(self.column).cast(pl.String) == self.value).select(DROPPED).collect()
        except (ForgeError, pl.exceptions.PolarsError, OSError, KeyError):
            return None
        return str(rows.item(0, 0)) if rows.height else f"filtered by {record.use}"

    def _instance(self, record: Record) -> Any:
        """Return the step type's class with the record's parameters, or None where its code or files are others now."""
        found = self.registry.find(record.use)
        code = module_digests(fingerprint(found.cls, self.registry.packages, describe, digest_data))
        if code != record.action.get("code"):
            return None
        try:
            spec = _spec(record, self.lineage.store)
        except ForgeError:
            return None
        instance, complaints = structure(found.cls, spec, self.lineage.store.root)
        return None if complaints else instance

    def _asked(self, record: Record, row: Mapping[str, Any]) -> tuple[Sequence[Asked], str]:
        """Return the requests that were made about a row, in their order."""
        try:
            if self.registry.find(record.use).verb != "request":
                return (), "labelled in process, without a request"
            labeler = self._instance(record)
            if labeler is None:
                return (), "its requests can't be told: the labeler's code or files are not what they were"
            return _requests(labeler, row, Journal(self.lineage.store.root / "journals")), ""
        except (ForgeError, OSError) as error:
            return (), f"its requests can't be told: {error}"


def trace(lineage: Lineage, links: Sequence[Link], registry: Registry, column: str, value: str) -> list[Sighting]:
    """Return what each step did with the row whose *column* holds *value*, from its source on.

    *links* are those of `Lineage.backward`. Raises UsageError where no table has such a row.
    """
    state = _Trace(lineage, registry, column, value)
    found = [sighting for link in reversed(links) for sighting in state.step(link)]
    if not found:
        known = ", ".join(f"`{name}`" for name in sorted(state.columns)) or "none"
        hint = f"the tables have the columns {known}" if column not in state.columns else None
        raise UsageError(f"no table that it was made of has a row whose `{column}` is `{value}`", hint=hint)
    return found


def _requests(labeler: Any, row: Mapping[str, Any], journal: Journal) -> list[Asked]:
    """Walk a row through the stages of every voter, as far as the journal goes."""
    found: list[Asked] = []
    attempts = max(1, getattr(labeler, "attempts", 3))
    for stages in ballots(labeler):
        seen = dict(row)
        for stage in stages:
            asked, values = _of_stage(stage, stage.request(seen), attempts, journal)
            found += asked
            if values is None:
                break
            seen |= values
    return found


def _of_stage(
    stage: Any, request: Any, attempts: int, journal: Journal
) -> tuple[list[Asked], Mapping[str, Any] | None]:
    found: list[Asked] = []
    for _ in range(attempts):
        key = request_key(request)
        entry = journal.get(key)
        if entry is None:
            return [*found, Asked(key)], None
        reply = reply_of(entry)
        model = reply.model or str(request.identity.get("model", ""))
        try:
            values: Mapping[str, Any] = stage.parse(reply)
        except Refused as refusal:
            found.append(Asked(key, model, reply.text, refusal.message))
            request = again(request, reply, refusal)
        else:
            return [*found, Asked(key, model, reply.text)], values
    return found, None


def _columns(path: Path) -> set[str]:
    import polars as pl

    return set(pl.read_ipc_schema(path))


def _origin(row: Mapping[str, Any], link: Link) -> tuple[Mapping[str, Member], str]:
    """Return the raw files that a row may have come from: the one that it names, else all that were read."""
    files = {name: member for members in link.files.values() for name, member in (members or {}).items()}
    if len(files) <= 1:
        return files, "the only file that was read" if files else "the record names no files"
    texts = {name: text for name, text in row.items() if isinstance(text, str) and len(text) <= _LONGEST_NAME}
    for column, text in texts.items():
        named = [n for n in files if text in (n, PurePosixPath(n).name)]
        if len(named) == 1:
            return {named[0]: files[named[0]]}, f"`{column}` names it"
    for column, text in texts.items():
        named = [n for n in files if _names(text, PurePosixPath(n).stem)]
        longest = [n for n in named if len(PurePosixPath(n).stem) == max(len(PurePosixPath(m).stem) for m in named)]
        if len(longest) == 1:
            return {longest[0]: files[longest[0]]}, f"`{column}` holds its name"
    return files, f"one of {len(files):,} files: no column names it"


def _names(text: str, stem: str) -> bool:
    """Say whether a file's name stands in a text as a word of its own."""
    return re.search(rf"(?<![^\W_]){re.escape(stem)}(?![^\W_])", text) is not None
