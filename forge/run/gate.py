"""Hold the first heavy step back until it is known that what comes after it can work."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from forge.run.events import Event, Failure, LookedAhead, Warned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forge.core.step import Step
    from forge.plan.graph import Graph
    from forge.plan.preflight import Look
    from forge.store.base import Store

HINT = "`forge check` shows all that was looked at; `--no-check` builds all the same"


@attrs.define
class Gate:
    """Look ahead once a build, before the first step that trains or wants a GPU.

    *graph* gives the whole graph, which is asked for at the last moment. What was found in order is remembered in the
    store by all that it depends on, so that a build that goes on where an earlier one ended looks no second time;
    the room on the disk is asked for each time. *elsewhere* says that heavy steps run on other machines than this.
    """

    graph: Callable[[], Graph]
    store: Store
    elsewhere: bool = False
    looks: list[Look] | None = attrs.field(default=None, init=False)
    whole: Graph | None = attrs.field(default=None, init=False)

    def __call__(self, step: Step, listener: Callable[[Event], None]) -> Failure | None:
        """Return why *step* should not start; nothing where all is well, or nothing can look."""
        if self.whole is None:
            self.whole = self.graph()
        after = _after(self.whole, step.name)
        if not any(callable(getattr(self.whole.steps[name].instance, "preflight", None)) for name in after):
            return None
        if self.looks is None:
            self.looks = self._look(self.whole, step, listener)
        found = [(look.step, n) for look in self.looks if look.step in after or not look.step for n in look.notices]
        bad = [(name, notice) for name, notice in found if notice.state == "bad"]
        if not bad:
            return None
        lines = []
        for name, notice in bad:
            where = f"step `{name}`, " if name and name != step.name else ""
            lines.append(f"\n  {where}{notice.what}: {notice.message}")
            lines += [f"\n    hint: {notice.hint}"] if notice.hint else []
        return Failure(f"it was not started, for the build would fail{''.join(lines)}", HINT)

    def _look(self, graph: Graph, step: Step, listener: Callable[[Event], None]) -> list[Look]:
        from forge.plan.preflight import Look, disk_space, unfit_packages
        from forge.run.preflight import LATE, MADE, look_ahead, outlook_key
        from forge.store.signatures import build_name

        key = outlook_key(graph, self.store, build_name(graph.manifest.name, graph.manifest.path))
        path = self.store.root / "builds" / "preflight" / f"{key}{'-elsewhere' if self.elsewhere else ''}.json"
        known = _remembered(path)
        if known is not None:
            looks = [look for value in known if (look := Look.from_json(value)).step]
            ahead = [graph.steps[look.step] for look in looks if look.notices[0].what != MADE]
            return [*looks, disk_space(looks, ahead, self.store.root)]
        listener(LookedAhead(step.name, len(graph.steps)))
        outlook = look_ahead(graph, self.store, lookers=(unfit_packages,), elsewhere=self.elsewhere)
        if not outlook.count("bad") and not any(notice.what == LATE for _, notice in outlook.notices):
            self.store.write_json(path, [look.to_json() for look in outlook.looks], durable=False)
        for name, notice in outlook.notices:
            if notice.state == "doubtful":
                listener(Warned(name, f"{notice.what}: {notice.message}"))
        return list(outlook.looks)


def _after(graph: Graph, name: str) -> set[str]:
    """Return a step and all that follow from it."""
    found = {name}
    for step in graph.steps.values():  # each comes after its inputs
        if not found.isdisjoint(step.needs):
            found.add(step.name)
    return found


def _remembered(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
