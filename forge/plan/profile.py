"""Where steps run: the `[executor]` table of a manifest, over the profile of a cluster that lies under `slurm/`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import ge

from forge.core.errors import ManifestError, Problem, UsageError
from forge.core.manifest import SECTIONS
from forge.core.step import Resources, seconds_of
from forge.core.suggest import did_you_mean
from forge.plugin.parameters import structure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forge.core.manifest import Manifest
    from forge.core.step import Step
    from forge.plan.graph import Graph

_KINDS = tuple(SECTIONS.values())
_TABLES = ("resources", *_KINDS)
"""Tables of `[executor]` that hold resources: of every job, and of the jobs of one kind of step."""


def _time(_instance: object, _attribute: object, value: str) -> None:
    seconds_of(value)


def _kinds(_instance: object, _attribute: object, value: tuple[str, ...]) -> None:
    for kind in value:
        if kind not in _KINDS:
            raise ValueError(f"`{kind}` is no kind of step; the kinds are {', '.join(_KINDS)}")


@attrs.frozen
class Profile:
    """Say where steps run, and how jobs of a cluster are asked for.

    ``light`` steps, which declare no resources, run on the ``head`` (the machine of `forge build`) or on the
    ``cluster``; steps of ``kinds`` are always jobs. At most ``most`` jobs are in the queue at once. A labeler over
    more than ``shard`` rows becomes an array job of which ``at_once`` tasks run at once. ``python`` is the
    interpreter of the jobs (the head's own), ``setup`` are lines of bash before it starts, ``environment`` variables.
    ``facts`` are what is so on nodes with a GPU and not on the head, such as ``device = "cuda"``.
    A job is told ``notice`` before its time is up; one that is gone without an exit record counts as lost after
    ``grace`` and is submitted ``retries`` times at most; ``poll`` is between two questions to the controller.
    ``resources`` are those of every job, and ``by_kind`` those of one kind of step.
    """

    use: Literal["local", "slurm"] = "slurm"
    light: Literal["head", "cluster"] = "head"
    kinds: tuple[str, ...] = attrs.field(default=(), validator=_kinds)
    most: int = attrs.field(default=200, validator=ge(1))
    shard: int = attrs.field(default=300, validator=ge(1))
    at_once: int = attrs.field(default=16, validator=ge(1))
    python: str = ""
    setup: tuple[str, ...] = ()
    environment: dict[str, str] = attrs.Factory(dict)
    facts: dict[str, str] = attrs.Factory(dict)
    notice: str = attrs.field(default="2m", validator=_time)
    grace: str = attrs.field(default="10s", validator=_time)
    poll: str = attrs.field(default="2s", validator=_time)
    retries: int = attrs.field(default=3, validator=ge(1))
    resources: Resources = attrs.Factory(Resources)
    by_kind: dict[str, Resources] = attrs.Factory(dict)

    def is_job(self, step: Step) -> bool:
        """Say whether *step* runs as a job of the cluster.

        Sources that need the network run on the head: nodes seldom have one.
        """
        if self.light == "cluster" or step.resources != Resources() or step.kind in self.kinds:
            return True
        return step.heavy and not (step.kind == "source" and step.network)

    def resources_of(self, step: Step) -> Resources:
        """Return what the job of *step* asks for: what the step declares, over its kind's, over every job's."""
        found = self.resources
        for more in (self.by_kind.get(step.kind, Resources()), step.resources):
            given = {f.name: v for f in attrs.fields(Resources) if (v := getattr(more, f.name)) != f.default}
            found = attrs.evolve(found, **given)
        return found

    def shards_of(self, step: Step, rows: int | None) -> int:
        """Return the tasks of a labeler's array job, or 1 where it is no array."""
        if step.verb != "request" or rows is None or getattr(step.instance, "journalled", True) is False:
            return 1
        return -(-rows // self.shard_of(rows))

    def shard_of(self, rows: int) -> int:
        """Return the rows of one task; an array that Slurm would find too long gets longer ones."""
        return max(self.shard, -(-rows // _MOST_TASKS))


_MOST_TASKS = 1000
"""Slurm's own bound on an array is 1,001 where nobody raised it."""


def read_profile(manifest: Manifest, name: str = "") -> Profile:
    """Return the manifest's `[executor]` over the profile *name*, or over the one that it names itself.

    Raises ManifestError with every problem of both.
    """
    own = {key: value for key, value in manifest.executor.items() if key != "profile"}
    table: dict[str, Any] = {}
    path = _named(manifest, name)
    if path is not None:
        table, problems = _read(path)
        if problems:
            raise ManifestError(problems)
    place = str(manifest.path)
    profile, problems = _profile(_laid(table, own), place, manifest.root)
    if profile is None:
        raise ManifestError(problems)
    return profile


def _named(manifest: Manifest, name: str) -> Path | None:
    """Return the path of the profile that is named, or that the manifest names."""
    path = Path(name or str(manifest.executor.get("profile", "")))
    if not path.name:
        return None
    if path.suffix != ".toml":
        return manifest.root / "slurm" / f"{path}.toml"
    return path if name and path.is_file() else manifest.root / path


def _read(path: Path) -> tuple[dict[str, Any], list[Problem]]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        others = sorted(p.stem for p in path.parent.glob("*.toml"))
        raise UsageError(f"there is no profile `{path}`", hint=did_you_mean(path.stem, others)) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"the profile `{path}` can't be read: {error}") from None
    problems = [Problem(f"a profile has no table `{key}`", str(path)) for key in document if key != "executor"]
    table = document.get("executor")
    if not isinstance(table, dict):
        return {}, [*problems, Problem("a profile is one table, `[executor]`", str(path))]
    _, found = _profile(table, str(path), path.parent)
    return table, [*problems, *found]


def _laid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return one table over another; tables in both are laid over each other too."""
    both = dict(under)
    for key, value in over.items():
        below = both.get(key)
        both[key] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
    return both


def _profile(table: Mapping[str, Any], place: str, root: Path) -> tuple[Profile | None, list[Problem]]:
    problems: list[Problem] = []
    found: dict[str, Resources] = {}
    for name in _TABLES:
        values = table.get(name)
        if values is None:
            continue
        if not isinstance(values, dict):
            problems.append(Problem(f"`[executor.{name}]` must be a table, got `{values!r}`", place))
            continue
        resources, complaints = structure(Resources, values, root)
        problems += [Problem(f"`[executor.{name}]`: {_in_words(c)}", place, hint=c.hint) for c in complaints]
        found[name] = resources or Resources()
    plain = {key: value for key, value in table.items() if key not in _TABLES}
    if "by_kind" in plain:
        problems.append(Problem("`[executor]` has no key `by_kind`", place))
        del plain["by_kind"]
    profile, complaints = structure(Profile, plain, root)
    problems += [Problem(f"`[executor]`: {_in_words(c)}", place, hint=c.hint) for c in complaints]
    if profile is None or problems:
        return None, problems
    by_kind = {kind: found[kind] for kind in _KINDS if kind in found}
    return attrs.evolve(profile, resources=found.get("resources", Resources()), by_kind=by_kind), []


def _in_words(complaint: Any) -> str:
    return str(complaint.message).replace("parameter", "key")


def placed(graph: Graph, profile: Profile, name: str = "") -> Graph:
    """Return *graph* with the facts of steps that get a GPU as they are on the nodes, which the head may not have.

    The text of the profile is then one of the manifest's: what a step is depends on it. *name* is what
    `read_profile` was told.
    """
    path = _named(graph.manifest, name)
    manifest = graph.manifest
    if path is not None:
        manifest = attrs.evolve(manifest, files=(*manifest.files, path))
    steps = {
        name: attrs.evolve(step, facts={k: profile.facts.get(k, v) for k, v in step.facts.items()})
        if profile.facts and profile.is_job(step) and profile.resources_of(step).gpus
        else step
        for name, step in graph.steps.items()
    }
    return attrs.evolve(graph, manifest=manifest, steps=steps)
