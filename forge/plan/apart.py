"""Keep what steps put into the user's tree apart from each other, and from what steps read."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import attrs

from forge.core.errors import Problem
from forge.core.files import fixed_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from forge.core.manifest import StepTable
    from forge.core.step import Step

_HINT = "name another `to`"
_HELD = ("format", "builds/a.json", "trees/aa/a.json", "objects/aa/a", "artifacts/aa/a/rows.arrow", "logs/a.log")
"""Files that stand for those of any store."""


@attrs.frozen
class Sight:
    """Hold a glob that a step reads: the parameter that names it, and what of it is wild."""

    step: str
    parameter: str
    pattern: str
    wild: str


def collisions(steps: Mapping[str, Step], tables: Mapping[str, StepTable], root: Path) -> Iterator[Problem]:
    """Yield a problem for each step that would put files over another's, or to where a later build would read them.

    *tables* say on which lines of the manifest both stand.
    """
    putting = {name: step.destination for name, step in steps.items() if step.destination is not None}
    if not putting:
        return
    sights = _sights(steps, root)
    placed: dict[str, str] = {}
    inside: dict[str, str] = {}
    for name, to in putting.items():
        path = os.path.normpath(os.path.join(root, to))
        folders = list(_folders(path))
        other = next((placed[each] for each in (path, *folders) if each in placed), inside.get(path))
        line = tables[name].place_of("to")
        if other is not None:
            at = tables[other].place_of("to")
            message = f'`to = "{to}"` and `to = "{putting[other]}"` of step `{other}` ({at.file}:{at.line}) overlap'
            yield Problem(message, line.file, line.line, name, _HINT)
        sight = next((s for base in (path, *folders) for s in sights.get(base, ()) if _sees(s, base, path)), None)
        if sight is not None:
            at = tables[sight.step].place_of(sight.parameter)
            read = f'`{sight.parameter} = "{sight.pattern}"`, {at.file}:{at.line}'
            message = f'`to = "{to}"` lies in what step `{sight.step}` reads ({read}): the next build would take it in'
            yield Problem(message, line.file, line.line, name, _HINT)
        placed.setdefault(path, name)
        for folder in folders:
            inside.setdefault(folder, name)


def would_read(pattern: str, root: Path, store: Path) -> bool:
    """Say whether a glob below *root* matches what every store holds once something is built, were it at *store*."""
    fixed, wild = fixed_part(pattern)
    base = os.path.normpath(os.path.join(root, fixed))
    below = os.path.relpath(store, base).split(os.sep)
    if below[0] == os.pardir or not (wild or os.path.isdir(base)):
        return False
    parts = (wild or "**").split("/")
    names = [] if below == [os.curdir] else below
    return any(matches(parts, [*names, *held.split("/")]) for held in _HELD)


def _folders(path: str) -> Iterator[str]:
    """Yield the folders that a path lies in, from the inside."""
    while (above := os.path.dirname(path)) != path:
        yield above
        path = above


def _sights(steps: Mapping[str, Step], root: Path) -> Mapping[str, Iterable[Sight]]:
    """Return what steps read by globs and folders, by the part of them that is not wild.

    A file that is named as such is left out: delivering refuses to write over it.
    """
    found: dict[str, list[Sight]] = {}
    for name, step in steps.items():
        for parameter, files in step.files.items():
            fixed, wild = fixed_part(files.pattern)
            base = os.path.normpath(os.path.join(root, fixed))
            if "files" in step.spec.get(parameter, ()) and (wild or os.path.isdir(base)):
                found.setdefault(base, []).append(Sight(name, parameter, files.pattern, wild or "**"))
    return found


def _sees(sight: Sight, base: str, path: str) -> bool:
    """Say whether a glob that begins at *base* matches a file at *path*, or all that may lie below it."""
    if path == base:
        return sight.wild == "**"
    return matches(sight.wild.split("/"), os.path.relpath(path, base).split(os.sep))


def matches(wild: list[str], names: list[str]) -> bool:
    """Say whether a path matches a glob, part by part, as `Files.match` looks for it."""
    if not wild or not names:
        return not names and all(part == "**" for part in wild)
    if wild[0] == "**":
        return matches(wild[1:], names) or (not names[0].startswith(".") and matches(wild, names[1:]))
    hidden = names[0].startswith(".") and not wild[0].startswith(".")
    return not hidden and fnmatchcase(names[0], wild[0]) and matches(wild[1:], names[1:])
