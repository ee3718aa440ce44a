"""The manifest as it is written, merged and with its parameters filled in, before any plugin is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from forge.core.fence import Fence

SECTIONS = {
    "sources": "source",
    "transforms": "transform",
    "labelers": "labeler",
    "trainers": "trainer",
    "exporters": "exporter",
    "checks": "check",
}
"""The tables of a manifest that hold steps, and the kind of step each holds."""


@attrs.frozen
class Place:
    """Say where something stands: the manifest's name as the person gave it, and the line."""

    file: str
    line: int | None = None


@attrs.frozen
class StepTable:
    """Hold one step as the manifest has it."""

    name: str
    kind: str
    use: str
    values: Mapping[str, Any]
    place: Place
    places: Mapping[str, Place] = attrs.Factory(dict)

    def place_of(self, key: str) -> Place:
        """Return where the parameter *key* stands, or else the step."""
        return self.places.get(key, self.place)


@attrs.frozen
class Manifest:
    """Hold a whole manifest.

    ``files`` are all texts it was read from, its own first; paths in it are relative to ``root``.
    ``broken`` names steps that stand in the text and could not be read; ``fence`` is what its paths must stay inside.
    ``executor`` says where steps run, as the text has it; `forge.plan.profile` reads it.
    """

    name: str
    path: Path
    root: Path
    seed: int
    params: Mapping[str, Any]
    steps: tuple[StepTable, ...]
    files: tuple[Path, ...]
    broken: frozenset[str] = frozenset()
    fence: Fence | None = None
    executor: Mapping[str, Any] = attrs.Factory(dict)
