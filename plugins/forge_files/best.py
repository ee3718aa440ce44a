"""The best of several artifacts, by a figure that each of them states."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
from attrs.validators import min_len

import forge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@attrs.frozen
class Best:
    """Pass on the artifact whose figure *metric* is the lowest, or the highest, of all inputs.

    This is what the name of a swept step stands for, and it may be written out as well, over any steps. A figure is
    looked up in the ``metrics.json``, ``stats.json`` or ``receipt.json`` of each artifact, by its name there, and by
    names joined by dots where it lies deeper. Of equal ones the first counts; one that is no number is never the best.
    """

    metric: str = attrs.field(validator=min_len(1))
    lowest: bool = True

    def export(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> None:
        """Pass the best artifact on as it is, so that what follows is made again only if another one is best."""
        figures = {name: self._figure(name, artifact) for name, artifact in inputs.items()}
        numbers = {name: value for name, value in figures.items() if math.isfinite(value)}
        if not numbers:
            raise forge.StepError(f"`{self.metric}` is no number in any of {len(figures)} inputs")
        best = min(numbers, key=lambda name: numbers[name] if self.lowest else -numbers[name])
        for name, path in inputs[best].files().items():
            run.bring(forge.File(name, path), out / name, link=True)
        for name, value in figures.items():
            run.log(f"{name}: {self.metric} {value:g}{' (the best)' if name == best else ''}")

    def preflight(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Notice]:
        """Let any one point stand for the best: they differ in their figures alone."""
        for name, path in next(iter(inputs.values())).files().items():
            run.bring(forge.File(name, path), out / name)
        yield forge.Notice("points", message=f"{len(inputs)}, of which the best is known when all have run")

    def _figure(self, name: str, artifact: forge.Artifact) -> float:
        figures = artifact.figures()
        if self.metric not in figures:
            there = ", ".join(f"`{known}`" for known in list(figures)[:_FEW])
            hint = f"it has {there}" if there else "it has no `metrics.json`, `stats.json` or `receipt.json`"
            raise forge.StepError(f"`{name}` has no figure `{self.metric}`", hint=hint)
        return figures[self.metric]


_FEW = 12


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register `sweep.best`."""
    register.exporter("best", Best, version="1")
