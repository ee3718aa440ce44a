"""A manifest's steps, resolved, in an order in which each comes after its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from forge.core.errors import ManifestError, Problem
from forge.core.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forge.core.manifest import Manifest
    from forge.core.step import Input, Step
    from forge.plan.sweep import Sweep


@attrs.frozen
class Graph:
    """Hold the resolved steps in order.

    ``modules`` are the installed plugins' modules by name: what a worker finds step types with; ``sweeps`` says which
    steps are points of one, by its name.
    """

    manifest: Manifest
    steps: Mapping[str, Step]
    modules: Mapping[str, str]
    sweeps: Mapping[str, Sweep] = attrs.Factory(dict)

    @property
    def packages(self) -> frozenset[str]:
        """Return the top-level packages that plugins live in."""
        return frozenset(module.partition(".")[0] for module in self.modules.values())

    def closure(self, targets: Iterable[str]) -> Graph:
        """Return the graph of *targets* and all they need; of everything where none is named."""
        from forge.plan.sweep import named

        meant = [name for target in targets for name in named(self.sweeps, target) or [target]]
        wanted = closure(self.manifest, {name: step.inputs for name, step in self.steps.items()}, meant)
        return attrs.evolve(self, steps={n: s for n, s in self.steps.items() if n in wanted})


def closure(manifest: Manifest, inputs: Mapping[str, tuple[Input, ...]], targets: Iterable[str]) -> set[str]:
    """Return the names of *targets* and all they need; of everything where none is named."""
    queue = list(targets) or list(inputs)
    unknown = [
        Problem(f"there is no step `{t}`", str(manifest.path), hint=did_you_mean(t, inputs))
        for t in queue
        if t not in inputs
    ]
    if unknown:
        raise ManifestError(unknown)
    wanted: set[str] = set()
    while queue:
        name = queue.pop()
        if name not in wanted:
            wanted.add(name)
            queue += [each.step for each in inputs[name]]
    return wanted
