"""Keep a result under a new key where a person says that moved code means what it meant."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.errors import UsageError
from forge.plan.explain import differences
from forge.plan.forecast import forecast
from forge.plan.keys import Keys, last_results
from forge.store.actions import Actions
from forge.store.signatures import Signatures, build_name

if TYPE_CHECKING:
    from forge.core.record import Record
    from forge.plan.forecast import Forecast
    from forge.plan.graph import Graph
    from forge.store.base import Store

MAY_MOVE = ("code", "version")
"""The parts of a key that a person may call unchanged in meaning; all others change what goes in."""


def accept(graph: Graph, store: Store, name: str, *, who: str = "", why: str = "") -> Record:
    """Publish the last result of step *name* under its key of now; raise UsageError if more than code moved.

    The record says *who* accepted it, and *why* where a reason is given.
    """
    manifest = graph.manifest
    entries = forecast(graph.closure([name]), store)
    entry = entries[name]
    last = _last(entry, entries, store, str(manifest.path))
    build = build_name(manifest.name, manifest.path)
    keys = Keys(graph, Signatures.load(store, build), recall=last_results(store, build))
    trees = {need: store.tree(record.tree) for need in entry.step.needs if (record := entries[need].record)}
    action = keys.action(entry.step, trees)
    now, then = action.to_json(), dict(last.action)
    same = {part: now.get(part) for part in MAY_MOVE}
    beyond = differences(now, then | same)
    if beyond or {p for p in now.keys() | then.keys() if now.get(p) != then.get(p)} - set(MAY_MOVE):
        raise UsageError(
            f"step `{name}` can't be accepted: more than its code moved ({'; '.join(beyond) or 'parts of its key'})",
            hint=f"run `forge build {manifest.path} {name}`",
        )
    accepted: dict[str, Any] = {
        "from": last.key,
        "moved": list(entry.moved) or differences(now, then),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    accepted |= {word: text for word, text in (("who", who), ("why", why)) if text}
    if last.accepted:
        accepted["before"] = dict(last.accepted)
    record = attrs.evolve(
        last,
        key=action.key,
        step=name,
        action=now,
        inputs={each.name: trees[each.step].part(each.part).digest for each in entry.step.inputs},
        code=keys.fingerprints(entry.step),
        accepted=accepted,
    )
    actions = Actions(store)
    actions.publish(record)
    actions.remember(build, {name: action.key})
    return record


def _last(entry: Forecast, entries: dict[str, Forecast], store: Store, manifest: str) -> Record:
    """Return the record of the last build if there is one to accept."""
    name = entry.step.name
    if entry.will == "hit":
        raise UsageError(f"step `{name}` is a hit: there is nothing to accept")
    if entry.last is None:
        raise UsageError(f"step `{name}` was never built", hint=f"run `forge build {manifest} {name}`")
    if entry.key is None:
        first = next(e for e in entries.values() if e.will == "run")
        if first is entry:
            raise UsageError(f"step `{name}` can't be accepted: {entry.because}")
        raise UsageError(
            f"step `{name}` can't be accepted before `{first.step.name}`, which would run ({first.because})",
            hint=f"build `{first.step.name}`, or accept it first where only its code moved",
        )
    if not entry.moved:
        raise UsageError(
            f"step `{name}` can't be accepted: {entry.because}", hint=f"run `forge build {manifest} {name}`"
        )
    if Actions(store).find(entry.last.key) is None:
        raise UsageError(
            f"step `{name}` can't be accepted: its last result is no longer in the store",
            hint=f"run `forge build {manifest} {name}`",
        )
    return entry.last
