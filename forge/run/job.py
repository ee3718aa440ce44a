"""A job: one action with all that a worker on any machine needs to run it, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.action import Action
from forge.core.step import PREVIOUS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from forge.core.action import Fingerprints
    from forge.core.files import Seen
    from forge.core.step import Step


@attrs.frozen
class Job:
    """Hold one action to run.

    ``inputs`` are ``[name, tree digest, part, sound]`` in the order of ``from``, *sound* where the build has found the
    artifact's files as they were when they were last verified; ``spec`` makes the step type's class again,
    which is found through ``modules``, the plugins' modules by name; ``seen`` is what the build found in the files
    that the step reads from outside the store, ``sources`` what the files and folders were that ``code`` was taken
    from. ``cluster`` is what the record says of an array of jobs that has
    prepared the work.
    """

    key: str
    step: str
    kind: str
    use: str
    verb: str
    spec: Mapping[str, Any]
    inputs: list[list[Any]]
    action: Mapping[str, Any]
    code: Fingerprints
    root: str
    store: str
    threads: int
    network: bool
    modules: Mapping[str, str]
    seen: Mapping[str, list[Any]]
    sources: Mapping[str, Sequence[int]] = attrs.Factory(dict)
    cluster: Mapping[str, Any] = attrs.Factory(dict)

    @classmethod
    def of(
        cls,
        step: Step,
        action: Action,
        *,
        trees: Mapping[str, str],
        sound: AbstractSet[str],
        code: Fingerprints,
        modules: Mapping[str, str],
        seen: Mapping[Path, Seen],
        sources: Mapping[str, Sequence[int]],
        root: str,
        store: str,
        threads: int,
        previous: str = "",
    ) -> Job:
        """Return the job of *step*; *trees* maps the steps it needs to the digests of their artifacts.

        *previous* is the digest of what it is given of its last result.
        """
        return cls(
            key=action.key,
            step=step.name,
            kind=step.kind,
            use=step.use,
            verb=step.verb,
            spec=step.spec,
            inputs=[[i.name, trees[i.step], i.part, i.step in sound] for i in step.inputs]
            + ([[PREVIOUS, previous, "", False]] if previous else []),
            action=action.to_json(),
            code=code,
            root=root,
            store=store,
            threads=min(step.resources.cpus or threads, threads),
            network=step.network,
            modules=modules,
            seen={
                str(f.path): [s.digest, s.size, s.signature]
                for files in step.files.values()
                for f in files
                if (s := seen[f.path]).signature
            },
            sources=sources,
        )

    def dump(self) -> str:
        """Return the job as one line of JSON."""
        return json.dumps({field.name: getattr(self, field.name) for field in attrs.fields(type(self))})

    @classmethod
    def load(cls, line: str) -> Job:
        """Read what `dump` returned."""
        return cls(**json.loads(line))
