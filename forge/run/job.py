"""A job: one action with all that a worker on any machine needs to run it, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.action import Action

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forge.core.step import Step
    from forge.plugin.fingerprint import Fingerprints


@attrs.frozen
class Job:
    """Hold one action to run.

    ``inputs`` are ``[name, tree digest, part]`` in the order of ``from``; ``spec`` makes the step type's class again.
    """

    key: str
    step: str
    kind: str
    use: str
    verb: str
    spec: Mapping[str, Any]
    inputs: list[list[str]]
    action: Mapping[str, Any]
    code: Fingerprints
    root: str
    store: str
    threads: int
    network: bool

    @classmethod
    def of(
        cls,
        step: Step,
        action: Action,
        *,
        trees: Mapping[str, str],
        code: Fingerprints,
        root: str,
        store: str,
        threads: int,
    ) -> Job:
        """Return the job of *step*; *trees* maps the steps it needs to the digests of their artifacts."""
        return cls(
            key=action.key,
            step=step.name,
            kind=step.kind,
            use=step.use,
            verb=step.verb,
            spec=step.spec,
            inputs=[[i.name, trees[i.step], i.part] for i in step.inputs],
            action=action.to_json(),
            code=code,
            root=root,
            store=store,
            threads=min(step.resources.cpus or threads, threads),
            network=step.network,
        )

    def dump(self) -> str:
        """Return the job as one line of JSON."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def load(cls, line: str) -> Job:
        """Read what `dump` returned."""
        return cls(**json.loads(line))
