"""Say which earlier step moved first where a late one has another key than before."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from forge.core.errors import StoreError
from forge.plan.explain import Names, own_differences
from forge.store.lineage import Lineage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forge.core.artifact import Tree
    from forge.core.record import Record
    from forge.plan.forecast import Forecast
    from forge.store.base import Store


@attrs.frozen
class Origin:
    """Name a step that moved by itself, and how."""

    step: str
    moved: tuple[str, ...]


def origins(entries: Mapping[str, Forecast], name: str, store: Store) -> list[Origin]:
    """Return the steps before *name* that moved first; *entries* are those of its closure, in their order.

    Steps that would run are asked first; where all before it is built, the records of then and now are compared.
    """
    waiting = [
        Origin(n, e.moved or (e.because,))
        for n, e in entries.items()
        if n != name and e.will == "run" and (not e.pending or e.moved)
    ]
    entry = entries[name]
    if waiting or entry.last is None or entry.key is None:
        return waiting
    then = entry.last
    lineage = Lineage.read(store)
    found: dict[str, Origin] = {}
    for each, old in zip(entry.step.inputs, then.inputs.values(), strict=False):
        now = entries[each.step].record
        if now is not None and store.tree(now.tree).part(each.part).digest != old:
            _walk(lineage, now, _maker(lineage, old, then, each.step), found, set())
    return list(found.values())


def _walk(
    lineage: Lineage, now: Record, then: Record | None, found: dict[str, Origin], seen: set[tuple[str, str]]
) -> None:
    """Collect the records on the way back that differ in more than what they were given, the first ones first."""
    if then is None or now.key == then.key or (now.key, then.key) in seen:
        return
    seen.add((now.key, then.key))
    for new, old in zip(now.inputs.values(), then.inputs.values(), strict=False):
        if new != old:
            maker = _maker(lineage, new, now)
            if maker is not None:
                _walk(lineage, maker, _maker(lineage, old, then, maker.step), found, seen)
    moved = own_differences(now.action, then.action, _names(lineage, now, then))
    if moved:
        found.setdefault(now.step, Origin(now.step, tuple(moved)))


def _maker(lineage: Lineage, digest: str, taker: Record, step: str = "") -> Record | None:
    """Return what most likely made an input of *taker*; what is called *step* goes before all others."""
    makers = [lineage.records[made.key] for made in lineage.made.get(digest, ()) if made.key != taker.key]
    named = sorted((r for r in makers if r.step == step), key=lambda r: r.started <= taker.started)
    likely = lineage.candidates(digest, taker, frozenset((taker.key,)))
    return named[-1] if named else lineage.records[likely[0].key] if likely else None


def _names(lineage: Lineage, now: Record, then: Record) -> Names:
    def tree(digest: str) -> Tree | None:
        with suppress(StoreError):
            return lineage.store.tree(digest)
        return None

    source = now.kind == "source" and len(now.action.get("files", {})) == 1
    return Names(tree, now.step if source else "", list(now.inputs), {}, now.code, then.code)
