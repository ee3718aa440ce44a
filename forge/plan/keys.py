"""Compute action keys as inputs become known."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from forge.core.action import Action, module_digests
from forge.core.artifact import Member, Tree
from forge.core.digest import digest_value
from forge.core.errors import StepError
from forge.store.signatures import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forge.core.action import Fingerprints
    from forge.core.files import Files, Seen
    from forge.core.record import Record
    from forge.core.step import Input, Step
    from forge.plan.graph import Graph
    from forge.store.base import Store

    Recall = Callable[[str], tuple[Record, Tree | None] | None]

_ASKED = ("params", "inputs", "files")
"""The parts of a key by which a step's last result was of something else; code and facts may move under it."""


class Shelved(Protocol):
    """Be an artifact whose members may not have been read yet."""

    @property
    def digest(self) -> str:
        """Return its digest."""

    def part(self, name: str) -> Tree:
        """Return the sub-tree below the folder *name*."""

    @property
    def members(self) -> Mapping[str, Member]:
        """Return its members."""


class FileReader(Protocol):
    """Say what files hold, remembering what has not changed."""

    def digest(self, path: Path) -> str:
        """Return the digest of a file's bytes."""

    def seen(self, path: Path) -> Seen:
        """Return what a file holds."""

    def of(self, path: Path, what: str, compute: Callable[[Path], Any]) -> Any:
        """Return what *compute* makes of a file."""


def last_results(store: Store, manifest: str) -> Recall:
    """Return what finds the last result of each of a manifest's steps in *store*."""
    from forge.store.actions import Actions

    actions = Actions(store)
    keys = cache(lambda: actions.last(manifest))

    def recall(step: str) -> tuple[Record, Tree | None] | None:
        record = actions.read(keys()[step]) if step in keys() else None
        return None if record is None else (record, store.complete(record.tree))

    return recall


@attrs.define
class Keys:
    """Make actions out of steps; *files* reads what lies outside the store, *code* is what is known of step types.

    *recall* finds the record of a step's last result, and the artifact if it is still there, by the step's name.
    """

    graph: Graph
    files: FileReader
    code: dict[str, Fingerprints] = attrs.Factory(dict)
    read: set[Path] = attrs.Factory(set)
    folders: set[Path] = attrs.Factory(set)
    modules: dict[str, dict[str, str]] = attrs.Factory(dict)
    seen: dict[Path, Seen] = attrs.Factory(dict)
    taken_from: dict[str, Sources] = attrs.Factory(dict)
    recall: Recall = lambda _: None

    def action(self, step: Step, trees: Mapping[str, Shelved]) -> Action:
        """Return the action of *step*, given the artifacts of the steps it needs."""
        inputs = tuple(
            (self.input_name(step, each.name), self._digest(step, each, trees[each.step])) for each in step.inputs
        )
        action = self.own(step, inputs)
        return attrs.evolve(action, previous=self._previous(step, action)) if step.previous else action

    def _previous(self, step: Step, action: Action) -> str:
        """Return the digest of what the step's last result left for it to compare with, or nothing.

        While nothing is asked of the step that was not asked then, it is compared with what it was compared with then:
        so building again is a hit, and the second of two builds does not find that it equals the first.
        """
        recalled = self.recall(step.name)
        if recalled is None or recalled[0].action.get("use") != action.use:
            return ""
        record, tree = recalled
        now = digest_value("asked", {part: action.to_json()[part] for part in _ASKED})
        if now == digest_value("asked", {part: record.action.get(part) for part in _ASKED}):
            return str(record.action.get("previous", ""))
        left = tree.part(step.previous) if tree is not None else None
        return left.digest if left is not None and left.members else ""

    def own(self, step: Step, inputs: tuple[tuple[str, str], ...]) -> Action:
        """Return the action of *step* on *inputs*; all else of it comes from no other step."""
        if step.use not in self.modules:
            self.modules[step.use] = module_digests(self.fingerprints(step))
        return Action(
            use=step.use,
            version=step.version,
            params=step.params,
            inputs=inputs,
            files={name: self.file_tree(found).digest for name, found in step.files.items()},
            code=self.modules[step.use],
            facts=step.facts,
        )

    @classmethod
    def input_name(cls, step: Step, name: str) -> str:
        """Return what an input is called in the key."""
        return name if cls._names_matter(step) else ""

    def fingerprints(self, step: Step) -> Fingerprints:
        """Return the fingerprints of a step type's code."""
        if step.use not in self.code:
            from forge.plugin.fingerprint import fingerprint

            sources = Sources()
            self.code[step.use] = fingerprint(
                type(step.instance),
                self.graph.packages,
                sources.noting(self._source),
                sources.noting(self._data),
                self.folders.add,
            )
            self.taken_from[step.use] = sources
        return self.code[step.use]

    def sources_of(self, step: Step) -> dict[str, tuple[int, ...]]:
        """Return what the files and folders were that the step type's code was taken from, as far as it was now."""
        return self.taken_from[step.use].signatures if step.use in self.taken_from else {}

    def sources(self) -> set[str]:
        """Return the code and data files that fingerprints were taken from, and the folders of either, empty or not."""
        return {str(p) for path in self.read for p in (path, path.parent)} | {str(folder) for folder in self.folders}

    def _source(self, path: Path) -> Any:
        from forge.plugin.fingerprint import describe

        self.read.add(path)
        return self.files.of(path, "code 2", describe)  # the form of what is remembered

    def _data(self, path: Path) -> str:
        self.read.add(path)
        return self.files.digest(path)

    def file_tree(self, files: Files) -> Tree:
        """Return the tree of files that lie outside the store."""
        self.seen |= {f.path: self.files.seen(f.path) for f in files}
        return Tree({f.name: Member(self.seen[f.path].digest, self.seen[f.path].size) for f in files})

    @staticmethod
    def _digest(step: Step, wanted: Input, tree: Shelved) -> str:
        """Return the digest of what an input names, a whole artifact or a part of it."""
        if not wanted.part:
            return tree.digest
        part = tree.part(wanted.part)
        if not part.members:
            there = sorted({n.partition("/")[0] for n in tree.members if "/" in n})
            hint = f"its parts are {', '.join(f'`{p}`' for p in there)}" if there else "it made no files"
            raise StepError(f"step `{wanted.step}` has no part `{wanted.part}`, which `{step.name}` wants", hint=hint)
        return part.digest

    @staticmethod
    def _names_matter(step: Step) -> bool:
        """Say whether the step can see what its inputs are called; if not, renaming a step changes no key."""
        return step.verb != "transform" and len(step.inputs) > 1
