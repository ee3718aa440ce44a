"""Say what a build would do, without doing it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import attrs

from forge.core.artifact import Tree
from forge.core.digest import digest_value
from forge.core.errors import ForgeError, StoreError
from forge.plan.explain import Names, differences, own_differences, shortened
from forge.plan.keys import Keys, last_results
from forge.store.actions import Actions
from forge.store.signatures import Signatures, build_name

if TYPE_CHECKING:
    from forge.core.action import Action
    from forge.core.record import Record
    from forge.core.step import Step
    from forge.plan.graph import Graph
    from forge.store.base import Store


@attrs.frozen
class Forecast:
    """State what would become of one step.

    ``will`` is ``unknown`` where it depends on what an earlier step makes: the step is a hit if that makes what it
    made before. ``moved`` lists the parts of the key that differ from the last build, as far as they are known;
    ``last`` is the step's record then; ``rows_in`` are the rows that come in, None where they are not known.
    """

    step: Step
    will: Literal["hit", "run", "unknown"]
    because: str
    key: str | None = None
    record: Record | None = None
    last: Record | None = None
    moved: tuple[str, ...] = ()
    rows_in: int | None = None
    pending: tuple[str, ...] = ()


def forecast(graph: Graph, store: Store) -> dict[str, Forecast]:
    """Return what would become of each step, as far as it can be known before any runs."""
    name = build_name(graph.manifest.name, graph.manifest.path)
    signatures = Signatures.load(store, name)
    found = _Forecaster(
        graph, store, Keys(graph, signatures, recall=last_results(store, name)), Actions(store).last(name)
    ).all()
    with suppress(StoreError):  # a plan can be made of a store that can't be written
        signatures.save()
    return found


@attrs.define
class _Forecaster:
    graph: Graph
    store: Store
    keys: Keys
    last_keys: dict[str, str]
    trees: dict[str, Tree] = attrs.Factory(dict)
    found: dict[str, Forecast] = attrs.Factory(dict)
    _kin: dict[str, list[Any]] | None = None

    def all(self) -> dict[str, Forecast]:
        for step in self.graph.steps.values():
            self.found[step.name] = self._one(step)
        return self.found

    def _one(self, step: Step) -> Forecast:
        actions = Actions(self.store)
        last = actions.read(self.last_keys[step.name]) if step.name in self.last_keys else None
        rows_in = self._rows_in(step)
        pending = tuple(n for n in step.needs if n not in self.trees)
        try:
            if pending:
                return self._pending(step, last, pending)
            action = self.keys.action(step, self.trees)
        except (ForgeError, OSError) as error:
            message = error.message if isinstance(error, ForgeError) else str(error)
            return Forecast(step, "run", message, last=last, rows_in=rows_in, pending=pending)
        record = actions.find(action.key)
        if record is not None:
            self.trees[step.name] = self.store.tree(record.tree)
            return Forecast(step, "hit", "", action.key, record, last, rows_in=rows_in)
        moved = differences(action.to_json(), last.action, self._names(step, last)) if last is not None else []
        because = "never built" if last is None else shortened(moved) or "the result is no longer in the store"
        return Forecast(step, "run", because, action.key, None, last, tuple(moved), rows_in)

    def _pending(self, step: Step, last: Record | None, pending: tuple[str, ...]) -> Forecast:
        """Forecast a step whose inputs are not all known: it is a hit only where a record fits all that is."""
        known = [
            (self.keys.input_name(step, i.name), self.trees[i.step].part(i.part).digest if i.step in self.trees else "")
            for i in step.inputs
        ]
        action = self.keys.own(step, tuple(known))
        after = "after " + ", ".join(f"`{n}`" for n in pending)
        if last is None:
            moved = []
        else:
            moved = own_differences(action.to_json(), last.action, self._names(step, last))
            known_then = [list(pair) for pair in last.action.get("inputs", [])]
            if not moved and _fits(action, known_then):
                return Forecast(step, "unknown", after, last=last, pending=pending)
        if any(_fits(action, inputs) for inputs in self._of_kin(action)):
            # another build made this with the parameters and the code of now, out of inputs that may come again
            return Forecast(step, "unknown", after, last=last, moved=tuple(moved), pending=pending)
        because = "never built" if last is None else shortened(moved) or "an input changed"
        return Forecast(step, "run", f"{because}, {after}", last=last, moved=tuple(moved), pending=pending)

    def _of_kin(self, action: Action) -> list[Any]:
        """Return the inputs of all records that differ from *action* in their inputs alone."""
        if self._kin is None:
            self._kin = {}
            for record in Actions(self.store).all():
                self._kin.setdefault(_without_inputs(record.action), []).append(record.action.get("inputs", []))
        return self._kin.get(_without_inputs(action.to_json()), [])

    def _rows_in(self, step: Step) -> int | None:
        """Return the rows of the inputs, where all that are tables are there."""
        records = [(self.found[i.step].record, i.part) for i in step.inputs]
        if not records or any(record is None for record, _ in records):
            return None
        counts = [record.rows[part] for record, part in records if record is not None and part in record.rows]
        return sum(counts) if counts else None

    def _names(self, step: Step, last: Record) -> Names:
        return Names(
            tree=self._tree,
            step=step.name if step.kind == "source" and len(step.files) == 1 else "",
            inputs=[i.reference for i in step.inputs],
            files={p: f.pattern for p, f in step.files.items() if [m.name for m in f] == ["file"]},
            code=self.keys.fingerprints(step),
            old_code=last.code,
        )

    def _tree(self, digest: str) -> Tree | None:
        """Return a tree of the store, of a part, or of files as they lie outside now."""
        with suppress(StoreError):
            return self.store.tree(digest)
        outside = (self.keys.file_tree(files) for step in self.graph.steps.values() for files in step.files.values())
        parts = (
            self.trees[i.step].part(i.part)
            for step in self.graph.steps.values()
            for i in step.inputs
            if i.part and i.step in self.trees
        )
        return next((tree for trees in (outside, parts) for tree in trees if tree.digest == digest), None)


def _without_inputs(action: Any) -> str:
    return digest_value(
        "kin", {part: value for part, value in dict(action).items() if part not in ("inputs", "previous")}
    )


def _fits(action: Action, inputs: Any) -> bool:
    """Say whether *inputs* are those of *action* as far as its own are known."""
    if [n for n, _ in action.inputs] != [n for n, _ in inputs]:
        return False
    return all(not digest or digest == other for (_, digest), (_, other) in zip(action.inputs, inputs, strict=True))
