"""Build a manifest again from nothing, somewhere else, and compare what comes out with its lock."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from forge.core.errors import StoreError
from forge.plan.explain import member_differences
from forge.plan.rows import first_difference
from forge.plugin.table import TABLE
from forge.run.build import Build
from forge.store.actions import Actions
from forge.store.base import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from forge.core.artifact import Tree
    from forge.core.record import Record
    from forge.plan.graph import Graph
    from forge.plan.keys import Recall
    from forge.plan.lock import Lock
    from forge.run.build import Outcome
    from forge.run.events import Event
    from forge.run.executor import Executor


@attrs.frozen
class Rebuilt:
    """State what became of one step that was made again.

    ``details`` name what differs: files, and for a table its first difference; ``inputs_differ`` says that it was
    given something else than before, so that it is not to blame.
    """

    step: str
    equal: bool
    locked: str
    made: str | None = None
    details: tuple[str, ...] = ()
    inputs_differ: bool = False


def rebuild(
    graph: Graph,
    lock: Lock,
    store: Store,
    folder: Path,
    executor: Callable[[], Executor],
    listener: Callable[[Event], None],
    *,
    journal: bool,
) -> tuple[Outcome, list[Rebuilt]]:
    """Build all of *graph* into a fresh store below *folder* and return what became of it, and of each step.

    With *journal* labelers read and write the journal of *store*: what was paid for is not paid for again. Files that
    exporters deliver go below *folder*. *store* is read to say where artifacts differ, if it still has them.
    """
    fresh = folder / "store"
    fresh.mkdir(parents=True)
    if journal:
        (fresh / "journals").symlink_to(store.root / "journals")
    elsewhere = folder / "project"
    elsewhere.mkdir()
    moved = attrs.evolve(graph, manifest=attrs.evolve(graph.manifest, root=elsewhere))
    again = Store.open(fresh)
    build = Build(moved, again, executor, listener, recall=_recall(lock, store, again))
    outcome = build.run()
    differing: set[str] = set()
    found = []
    for result in outcome.results:
        then = lock.steps.get(result.name)
        made = result.record.tree if result.record is not None else None
        inputs_differ = any(need in differing for need in graph.steps[result.name].needs)
        if then is not None and made == then["tree"]:
            found.append(Rebuilt(result.name, True, then["tree"], made))  # noqa: FBT003
            continue
        differing.add(result.name)
        if then is None or made is None:
            why = "it is not in the lock" if then is None else result.because or f"it {result.status}"
            found.append(Rebuilt(result.name, False, then["tree"] if then else "", made, (why,), inputs_differ))  # noqa: FBT003
            continue
        details = tuple(_details(then["tree"], store, made, build.store))
        found.append(Rebuilt(result.name, False, then["tree"], made, details, inputs_differ))  # noqa: FBT003
    return outcome, found


def _recall(lock: Lock, store: Store, fresh: Store) -> Recall:
    """Return what finds the locked results of steps, so that each is compared with what it was compared with then."""

    def recall(step: str) -> tuple[Record, Tree | None] | None:
        record = Actions(store).read(lock.steps[step]["key"]) if step in lock.steps else None
        previous = record.action.get("previous") if record is not None else None
        if record is None or not previous:
            return None
        tree = store.complete(previous)
        if tree is None:
            return None
        for member in tree.members.values():
            fresh.add_copy(store.object_path(member.digest))
        fresh.publish_tree(tree)
        return record, None

    return recall


def _details(locked: str, store: Store, made: str, fresh: Store) -> Iterator[str]:
    """Say where two artifacts differ."""
    before: Tree | None = None
    with suppress(StoreError):
        before = store.tree(locked)
    if before is None:
        yield "the locked artifact is no longer in the store: where it differs can't be said"
        return
    after = fresh.tree(made)
    yield member_differences(after.members, before.members)
    for name in sorted(before.members.keys() & after.members.keys()):
        old, new = before.members[name], after.members[name]
        if name.rpartition("/")[2] == TABLE and old.digest != new.digest and store.object_path(old.digest).exists():
            yield f"{name}: {first_difference(store.object_path(old.digest), fresh.object_path(new.digest))}"
