"""Try a build's steps on samples, in a process of its own: nothing reaches the store, and nothing is asked anywhere.

Steps that turn rows into rows run on the first rows of their sources; a step type with a method ``preflight`` looks
for itself, and may leave a stand-in for what it would make; all others are not looked at. What the store has already
is taken from there. Where the first rows leave a step with none, more are tried.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.errors import ForgeError, StoreError
from forge.plugin.context import Artifact
from forge.plugin.discovery import Registry
from forge.plugin.parameters import structure
from forge.plugin.protocols import Notice
from forge.plugin.table import write_rows
from forge.run.ledger import Ledger
from forge.run.tables import count_rows
from forge.run.tryout import TRIED, Try, complaint, try_step
from forge.store.base import Store
from forge.store.folders import folder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_MORE = (16, 256)
"""How many times the sample's rows are tried where the first were too few."""
_TIME_FOR_MORE = 12.0
"""Seconds after which no larger sample is tried."""


@attrs.frozen
class Part:
    """Hold one step as a rehearsal needs it; ``tree`` is the digest of its artifact where the store has it."""

    name: str
    use: str
    kind: str
    verb: str
    spec: dict[str, Any]
    inputs: list[tuple[str, str, str]]
    tree: str | None
    costly: bool


@attrs.frozen
class Task:
    """Hold what is to be tried; *skipped* steps have brought an earlier process down."""

    parts: list[Part]
    modules: dict[str, str]
    root: str
    store: str
    scratch: str
    sample: int
    skipped: list[str]

    def dump(self) -> str:
        """Return the task as one line of JSON."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def load(cls, line: str) -> Task:
        """Read what `dump` returned."""
        values = json.loads(line)
        parts = [Part(**{**part, "inputs": [tuple(i) for i in part["inputs"]]}) for part in values.pop("parts")]
        return cls(parts, **values)


@attrs.frozen
class Stand:
    """Hold what stands for a step's artifact; ``whole`` says that no row of it is missing."""

    path: Path
    whole: bool


@attrs.define
class Rehearsal:
    """Walk the steps in order; *send* takes events as JSON values."""

    task: Task
    send: Callable[[dict[str, Any]], None]
    registry: Registry = attrs.field(init=False)
    store: Store = attrs.field(init=False)
    stands: dict[str, Stand] = attrs.Factory(dict)
    folders: int = 0
    short: bool = False  # a larger sample may tell more

    def __attrs_post_init__(self) -> None:
        """Open what is there, and a store to lose."""
        self.registry = Registry(self.task.modules)
        self.store = Store.open(Path(self.task.store))

    def all(self) -> None:
        """Look at every step, first at those whose rows are cheap to have."""
        began = time.monotonic()
        early = self._early()
        sample = self.task.sample
        looks = self._round(early, sample)
        for factor in _MORE:
            if not self.short or time.monotonic() - began > _TIME_FOR_MORE:
                break
            sample = self.task.sample * factor
            looks = self._round(early, sample)
        for name, notices in looks.items():
            self._tell(name, notices)
        for part in self.task.parts:
            if part.name not in looks:
                self.send({"event": "begins", "step": part.name})
                self._tell(part.name, self._look(part, sample))

    def _tell(self, name: str, notices: Sequence[Notice]) -> None:
        self.send({"event": "looked", "step": name, "notices": [attrs.asdict(n) for n in notices]})

    def _early(self) -> list[Part]:
        """Return the steps that need nothing but rows, all the way up."""
        found: dict[str, Part] = {}
        for part in self.task.parts:
            looks_itself = callable(getattr(self.registry.find(part.use).cls, "preflight", None))
            cheap = part.tree is not None or (part.verb in TRIED and (looks_itself or not part.costly))
            if cheap and part.name not in self.task.skipped and all(step in found for _, step, _ in part.inputs):
                found[part.name] = part
        return list(found.values())

    def _round(self, parts: Sequence[Part], sample: int) -> dict[str, list[Notice]]:
        self.short = False
        self.stands.clear()
        looks = {}
        for part in parts:
            self.send({"event": "begins", "step": part.name})
            looks[part.name] = self._look(part, sample)
        return looks

    def _look(self, part: Part, sample: int) -> list[Notice]:
        """Look at one step, and keep what stands for its artifact."""
        if part.tree is not None:
            return [self._known(part, part.tree)]
        if part.name in self.task.skipped:
            return []
        try:
            inputs, whole = self._inputs(part, sample)
        except _Missing as reason:
            return [Notice("inputs", "unseen", str(reason))]
        found = self.registry.find(part.use)
        instance, complaints = structure(found.cls, part.spec, Path(self.task.root))
        if complaints:
            return [Notice("parameters", "bad", c.message, c.hint) for c in complaints]
        looks_itself = callable(getattr(instance, "preflight", None))
        if not looks_itself and (part.costly or part.verb not in TRIED):
            return [_UNTRIED]
        out = self._folder("out")
        ledger = Ledger(lambda: self._folder("scratch"), os.cpu_count() or 1, _nobody, lambda: None)
        attempt = Try(part.name, found, instance, inputs, whole, out, ledger, sample)
        notices = self._by_itself(attempt) if looks_itself else self._by_trying(attempt)
        if any(out.iterdir()):
            # what a step type leaves when it looks for itself is a stand-in, and no more
            self.stands[part.name] = Stand(out, attempt.whole and not looks_itself)
        return notices

    def _by_itself(self, attempt: Try) -> list[Notice]:
        """Let the step type look; a fault of its looking need be none of the step, and is a doubt."""
        found: list[Notice] = []
        try:
            found += attempt.instance.preflight(attempt.inputs, attempt.out, attempt.ledger)
        except Exception as error:  # noqa: BLE001  # the boundary: whatever a plugin raises
            known = complaint(error, attempt)
            if known is None:
                import traceback

                traceback.print_exc()
                said = f"its look ahead failed: {type(error).__name__}: {error}"
                known = Notice("preflight", "doubtful", said, "the step itself may fail on the same")
            found.append(known)
        found += [Notice("warning", "doubtful", message) for message in attempt.ledger.warnings]
        return found or [_UNTRIED]

    def _by_trying(self, attempt: Try) -> list[Notice]:
        """Do the work on the sample."""
        store = Store.open(Path(self.task.scratch) / "store")
        notices = try_step(attempt, store, self.task.root, self.task.modules)
        self.short = self.short or attempt.short
        return notices

    def _known(self, part: Part, digest: str) -> Notice:
        try:
            place = self.store.artifact_path(digest)
            self.stands[part.name] = Stand(
                place if place.is_dir() else folder_of(self.store, self.store.tree(digest)), whole=True
            )
        except StoreError as error:
            return Notice("store", "unseen", error.message, error.hint)
        return Notice("store", message="made already")

    def _inputs(self, part: Part, sample: int) -> tuple[dict[str, Artifact], bool]:
        """Return what the step is shown, and whether all rows are there."""
        found = self.registry.find(part.use)
        inputs, whole = {}, True
        for name, step, member in part.inputs:
            reference = f"{step}.{member}" if member else step
            optional = (found.inputs is None and len(part.inputs) > 1) or f"{name}?" in (found.inputs or ())
            stand = self.stands.get(step)
            if stand is None:
                raise _Missing(f"there is no sample of `{step}` to try it on")
            folder = stand.path / member
            rows = count_rows(folder) if folder.is_dir() else None
            if not folder.is_dir() or rows == 0:
                if not optional:
                    raise _Missing(f"`{reference}` has no row in the sample")
                continue
            if rows is not None and rows > sample:
                folder, whole = self._first_rows(folder, sample), False
            whole = whole and stand.whole
            inputs[name] = Artifact(name, folder)
        return inputs, whole

    def _first_rows(self, table: Path, sample: int) -> Path:
        folder = self._folder("rows")
        write_rows(Artifact("rows", table).rows().head(sample).collect(), folder)
        return folder

    def _folder(self, name: str) -> Path:
        self.folders += 1
        folder = Path(self.task.scratch) / f"{self.folders}" / name
        folder.mkdir(parents=True)
        return folder


_UNTRIED = Notice("work", "unseen", "not tried: it runs only in a build")


class _Missing(Exception):
    """Say why a step has nothing to be tried on."""


def _nobody(_: Any) -> None:
    """Take a step's progress."""


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Read a task from standard input, and write what is found to standard output."""
    events = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    task = Task.load(sys.stdin.readline())
    log = os.open(Path(task.scratch) / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def send(event: dict[str, Any]) -> None:
        events.write(json.dumps(event, default=str) + "\n")

    try:
        Rehearsal(task, send).all()
    except ForgeError as error:
        send({"event": "stopped", "message": error.message, "hint": error.hint})
    send({"event": "done"})
    events.flush()
    os._exit(0)  # libraries of numbers take their time to unload


if __name__ == "__main__":
    main()
