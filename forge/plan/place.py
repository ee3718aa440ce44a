"""Where a manifest's project is, and which of its paths a person gave on the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forge.core.manifest import Place, StepTable

_HOME = "manifests"
"""The folder of manifests: what is above it is the project."""


def root_of(manifest: Path, head: Mapping[str, Any]) -> Path:
    """Return the folder that a manifest's paths are relative to: as it says, or by where it lies."""
    folder = manifest.absolute().parent
    if "root" in head:
        return Path(folder / head["root"]).resolve()
    return folder.parent if folder.name == _HOME else folder


def project_of(manifest: Path) -> Path:
    """Return the folder beyond which a manifest may not point by itself."""
    folder = manifest.absolute().parent
    home = next((f for f in (folder, *folder.parents) if f.name == _HOME), None)
    return home.parent if home is not None else folder


def package_of(path: str) -> str | None:
    """Return the folder of the importable package that a file or folder lies in, None where it lies in none."""
    for base in sys.path:
        home = os.path.join(os.path.abspath(base), "")
        package = home + path.removeprefix(home).partition(os.sep)[0]
        if path.startswith(home) and os.path.isfile(os.path.join(package, "__init__.py")):
            return package
    return None


def hub_cache() -> str:
    """Return the folder in which models of the hub are kept on this machine."""
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "huggingface"
    )
    found = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return os.path.abspath(os.path.expanduser(os.path.expandvars(found)))


def given(places: Mapping[tuple[str, ...], Place], params: Mapping[str, Any], steps: Iterable[StepTable]) -> list[str]:
    """Return the strings that were given by `--set`: where they are paths, they are the person's own."""
    values: dict[str, Any] = {step.name: step.values for step in steps}
    found: list[str] = []
    for path, place in places.items():
        if not place.file.startswith("--set ") or not path:
            continue
        own = path[0] == "params"
        value: Any = params if own else values.get(path[1], {})
        for key in path[1:] if own else path[2:]:
            value = value.get(key) if isinstance(value, dict) else None
        found += _strings(value)
    return found


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for entry in entries for text in _strings(entry)]
