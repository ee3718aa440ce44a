"""What is found before anything heavy runs, step by step, and what of it takes neither rows nor models to find."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Any

import attrs

from forge.plugin.discovery import Registry
from forge.plugin.protocols import Notice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from forge.core.step import Step
    from forge.plan.graph import Graph

WORST_LAST = ("good", "unseen", "doubtful", "bad")
_FULL = 0.9
"""The share of the free space that a build may be expected to take."""


@attrs.frozen
class Look:
    """Hold what was seen of one step; a look without a step is one at the machine."""

    step: str
    notices: tuple[Notice, ...]

    @property
    def state(self) -> str:
        """Return the gravest state of its notices."""
        return max((n.state for n in self.notices), key=WORST_LAST.index, default="unseen")

    def to_json(self) -> dict[str, Any]:
        """Return the look as JSON values."""
        return {"step": self.step, "state": self.state, "notices": [attrs.asdict(n) for n in self.notices]}

    @classmethod
    def from_json(cls, value: Any) -> Look:
        """Read what `to_json` returned."""
        return cls(value["step"], tuple(Notice(**notice) for notice in value["notices"]))


def joined(looks: Iterable[Look]) -> list[Look]:
    """Return one look a step, in the order in which each was first looked at."""
    found: dict[str, tuple[Notice, ...]] = {}
    for look in looks:
        found[look.step] = found.get(look.step, ()) + look.notices
    return [Look(step, notices) for step, notices in found.items()]


def unfit_packages(graph: Graph, steps: Iterable[Step]) -> Iterator[Look]:
    """Yield a look at each step for which a package is installed in a version that forge does not work with."""
    registry = Registry(graph.modules)
    for step in steps:
        extras = {extra.strip() for extra in registry.find(step.use).extra.split(",")} - {""}
        unfit = tuple(_unfit(step, extras))
        if unfit:
            yield Look(step.name, unfit)


def _unfit(step: Step, extras: set[str]) -> Iterator[Notice]:
    if not extras:
        return
    try:
        from packaging.requirements import Requirement
    except ImportError:  # what reads version bounds comes with the packages that have them
        return
    for line in requires("forge") or ():
        wanted = Requirement(line)
        if wanted.marker is None or not any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        try:
            there = version(wanted.name)
        except PackageNotFoundError:
            continue  # what a step can't do without is named where the manifest is read
        if not wanted.specifier.contains(there, prereleases=True):
            yield Notice(
                "packages",
                "bad",
                f"`{step.use}` needs `{wanted.name}{wanted.specifier}`, installed is `{there}`",
                f"pip install 'forge[{','.join(sorted(extras))}]'",
            )


def disk_space(looks: Iterable[Look], steps: Iterable[Step], root: Path) -> Look:
    """Return a look at the room on the store's disk, beside what the steps that would run will add to it.

    A step's notices say what it adds; a source without any adds what its files hold.
    """
    looks = list(looks)
    said = {look.step: sum(n.disk for n in look.notices) for look in looks}
    wanted = sum(said.values())
    for step in steps:
        if not said.get(step.name):
            wanted += sum(file.path.stat().st_size for files in step.files.values() for file in files)
    free = shutil.disk_usage(root).free
    message = f"≈ {size_of(wanted)} will be added, {size_of(free)} are free"
    if wanted <= free * _FULL:
        return Look("", (Notice("disk", message=message),))
    most = sorted((look for look in looks if said[look.step]), key=lambda look: -said[look.step])[:3]
    named = ", ".join(f"`{look.step}` {size_of(said[look.step])}" for look in most)
    hint = "make room (`forge store gc`), or keep results on another disk with `--store`"
    return Look("", (Notice("disk", "bad", f"{message}{f': {named}' if named else ''}", hint),))


def size_of(count: float) -> str:
    """Return a number of bytes as people write it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004
            return f"{count:.0f} {unit}" if unit in ("B", "kB", "MB") else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
