"""Say what a build would do, without doing it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import attrs

from forge.core.errors import ForgeError, StoreError
from forge.plan.explain import definitions, differences, reason_of
from forge.plan.keys import Keys
from forge.store.actions import Actions
from forge.store.signatures import Signatures, build_name

if TYPE_CHECKING:
    from forge.core.artifact import Tree
    from forge.core.record import Record
    from forge.core.step import Step
    from forge.plan.graph import Graph
    from forge.store.base import Store


@attrs.frozen
class Forecast:
    """State what would become of one step.

    ``will`` is ``unknown`` where it depends on what an earlier step makes; ``moved`` lists the parts of the key that
    differ from the last build; ``last`` is the step's record then.
    """

    step: Step
    will: Literal["hit", "run", "unknown"]
    because: str
    key: str | None = None
    record: Record | None = None
    last: Record | None = None
    moved: tuple[str, ...] = ()


def forecast(graph: Graph, store: Store) -> dict[str, Forecast]:
    """Return what would become of each step, as far as it can be known before any runs."""
    name = build_name(graph.manifest.name, graph.manifest.path)
    actions, signatures = Actions(store), Signatures.load(store, name)
    keys, last_keys = Keys(graph, signatures), actions.last(name)
    trees: dict[str, Tree] = {}
    found: dict[str, Forecast] = {}
    for step in graph.steps.values():
        last = actions.read(last_keys[step.name]) if step.name in last_keys else None
        pending = [n for n in step.needs if n not in trees]
        if pending:
            because = f"after `{pending[0]}`"
            found[step.name] = Forecast(step, "run" if last is None else "unknown", because, last=last)
            continue
        try:
            action = keys.action(step, trees)
        except ForgeError as error:
            found[step.name] = Forecast(step, "run", error.message, last=last)
            continue
        record = actions.find(action.key)
        if record is not None:
            trees[step.name] = store.tree(record.tree)
            found[step.name] = Forecast(step, "hit", "", action.key, record, last)
            continue
        moved = []
        if last is not None:
            code = definitions(keys.fingerprints(step), last.code)
            moved = [
                m for m in differences(action.to_json(), last.action) if not (code and m.startswith("code "))
            ] + code
        because = reason_of(action, last)
        found[step.name] = Forecast(step, "run", because, action.key, None, last, tuple(moved))
    with suppress(StoreError):  # a plan can be made of a store that can't be written
        signatures.save()
    return found
