"""Compute action keys as inputs become known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from forge.core.action import Action
from forge.core.artifact import Member, Tree
from forge.core.errors import StepError
from forge.plugin.fingerprint import Fingerprints, describe, fingerprint, module_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forge.core.files import Files
    from forge.core.step import Step
    from forge.plan.resolve import Graph


class FileReader(Protocol):
    """Say what files hold, remembering what has not changed."""

    def digest(self, path: Path) -> str:
        """Return the digest of a file's bytes."""

    def of(self, path: Path, what: str, compute: Callable[[Path], Any]) -> Any:
        """Return what *compute* makes of a file."""


@attrs.define
class Keys:
    """Make actions out of steps; *files* reads what lies outside the store."""

    graph: Graph
    files: FileReader
    code: dict[str, Fingerprints] = attrs.Factory(dict)
    read: set[Path] = attrs.Factory(set)

    def action(self, step: Step, trees: Mapping[str, Tree]) -> Action:
        """Return the action of *step*, given the artifacts of the steps it needs."""
        inputs = []
        for each in step.inputs:
            tree = trees[each.step].part(each.part)
            if not tree.members:
                there = sorted({n.partition("/")[0] for n in trees[each.step].members if "/" in n})
                hint = f"its parts are {', '.join(f'`{p}`' for p in there)}" if there else "it made no files"
                raise StepError(f"step `{each.step}` has no part `{each.part}`, which `{step.name}` wants", hint=hint)
            inputs.append((each.name if self._names_matter(step) else "", tree.digest))
        return Action(
            use=step.use,
            version=step.version,
            params=step.params,
            inputs=tuple(inputs),
            files={name: self.file_tree(found).digest for name, found in step.files.items()},
            code=module_digests(self.fingerprints(step)),
            facts=step.facts,
        )

    def fingerprints(self, step: Step) -> Fingerprints:
        """Return the fingerprints of a step type's code."""
        if step.use not in self.code:
            self.code[step.use] = fingerprint(type(step.instance), self.graph.packages, self._source, self._data)
        return self.code[step.use]

    def sources(self) -> set[str]:
        """Return the code and data files, and the folders they lie in, that fingerprints were taken from."""
        return {str(p) for path in self.read for p in (path, path.parent)}

    def _source(self, path: Path) -> Any:
        self.read.add(path)
        return self.files.of(path, "code", describe)

    def _data(self, path: Path) -> str:
        self.read.add(path)
        return self.files.digest(path)

    def file_tree(self, files: Files) -> Tree:
        """Return the tree of files that lie outside the store."""
        return Tree({f.name: Member(self.files.digest(f.path), f.path.stat().st_size) for f in files})

    @staticmethod
    def _names_matter(step: Step) -> bool:
        """Say whether the step can see what its inputs are called; if not, renaming a step changes no key."""
        return step.verb != "transform" and len(step.inputs) > 1
