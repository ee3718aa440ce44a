"""Which steps can go on: those whose inputs are all there."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forge.core.step import Step


@attrs.define
class Schedule:
    """Count for each step the inputs that are not there yet; each edge is looked at once.

    ``ready`` holds the steps whose turn it is, in the order of the graph as far as their inputs allow.
    """

    ready: deque[str]
    _missing: dict[str, int]
    _dependants: dict[str, list[str]]
    _stopped: set[str] = attrs.Factory(set)

    @classmethod
    def of(cls, steps: Mapping[str, Step]) -> Schedule:
        """Return the schedule of a graph of which nothing is there; what lies outside of it is."""
        dependants: dict[str, list[str]] = {name: [] for name in steps}
        missing = dict.fromkeys(steps, 0)
        for name, step in steps.items():
            for need in step.needs:
                if need in steps:
                    dependants[need].append(name)
                    missing[name] += 1
        return cls(deque(name for name, count in missing.items() if not count), missing, dependants)

    def dependants(self, name: str) -> list[str]:
        """Return the steps that need *name*."""
        return self._dependants[name]

    def settled(self, name: str) -> None:
        """Note that a step's artifact is there."""
        for each in self._dependants[name]:
            self._missing[each] -= 1
            if not self._missing[each] and each not in self._stopped:
                self.ready.append(each)

    def stopped(self, name: str) -> Iterator[tuple[str, str]]:
        """Note that a step has no artifact; yield each step that can't run for it, with the one that it waited for."""
        queue = deque([name])
        while queue:
            blocked = queue.popleft()
            for each in self._dependants[blocked]:
                if each not in self._stopped:
                    self._stopped.add(each)
                    queue.append(each)
                    yield each, blocked
