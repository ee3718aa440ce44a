"""Locks: what a build was made with and what it made, in a file beside its manifest.

A lock is JSON: versions of forge, Python, the plugins and the packages that steps need; the facts in their keys; the
digests of the files that came in; for every step its action key and the digest of its artifact. It names no date,
no machine, and no path but those given by `--set`, so it belongs beside the manifest in version control.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, entry_points, packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge.core.artifact import Member
from forge.core.digest import digest_value
from forge.core.errors import UsageError
from forge.core.fence import Fence
from forge.core.files import fixed_part
from forge.plan.explain import Names, member_differences, own_differences
from forge.plan.forecast import forecast
from forge.plan.keys import Keys
from forge.plan.place import project_of
from forge.plugin.discovery import GROUP, Registry
from forge.store.actions import Actions
from forge.store.signatures import Signatures, build_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forge.core.step import Step
    from forge.plan.graph import Graph
    from forge.store.base import Store

FORMAT = 1
_ALWAYS = ("polars",)
"""Packages that every table is written with."""


@attrs.frozen
class Lock:
    """Hold what a build was made with and what it made.

    ``environment`` maps ``forge``, ``python``, ``plugin NAME``, ``package NAME`` and ``fact NAME`` to versions;
    ``files`` maps steps and their parameters to names and ``[digest, size]``; ``steps`` maps steps to ``use``, ``key``,
    ``own`` (the digest of the key without its inputs) and ``tree``; ``sets`` are the values given by `--set`.
    """

    environment: Mapping[str, str]
    files: Mapping[str, Mapping[str, Mapping[str, Sequence[Any]]]]
    steps: Mapping[str, Mapping[str, str]]
    sets: Sequence[str] = ()

    def dump(self) -> str:
        """Return the lock as the text of its file."""
        return json.dumps({"lock": FORMAT, **attrs.asdict(self)}, indent=1, sort_keys=True) + "\n"


def lock_path(manifest: Path) -> Path:
    """Return where the lock of a manifest lies."""
    return manifest.with_name(manifest.name + ".lock")


def read_lock(path: Path) -> Lock:
    """Read a lock; raise UsageError where there is none or it is none."""
    try:
        value = json.loads(path.read_bytes())
        found = value.pop("lock")
        if found != FORMAT:
            raise UsageError(f"the lock `{path}` has format `{found}`, this forge reads `{FORMAT}`")
        return Lock(**value)
    except FileNotFoundError:
        raise UsageError(f"there is no lock at `{path}`", hint="`forge lock MANIFEST` writes it") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"`{path}` is no lock: {error}", hint="write it again with `forge lock`") from error


def sets_of(lock: Lock, manifest: Path) -> tuple[str, ...]:
    """Return the values that a lock was written with; raise UsageError where one leads out of the project.

    A lock is a text like a manifest: only the command line speaks for the person who runs it.
    """
    fence = Fence.around(project_of(manifest))
    for item in lock.sets:
        name, _, value = item.partition("=")
        if not fence.holds(fixed_part(value)[0]):
            raise UsageError(
                f"the lock sets `{name}` to `{value}`, which leads out of the project",
                hint=f"say so yourself: `--set {item}`",
            )
    return tuple(lock.sets)


def make_lock(graph: Graph, store: Store, sets: Sequence[str] = ()) -> Lock:
    """Return the lock of a build whose steps are all in the store; raise UsageError where one is not."""
    entries = forecast(graph, store)
    missing = next((e for e in entries.values() if e.record is None or e.key is None), None)
    if missing is not None:
        raise UsageError(
            f"`{graph.manifest.path}` is not built as things are now: `{missing.step.name}` would run "
            f"({missing.because})",
            hint=f"run `forge build {graph.manifest.path}`",
        )
    keys = Keys(graph, Signatures.load(store, build_name(graph.manifest.name, graph.manifest.path)))
    steps = {
        name: {"use": e.step.use, "key": str(e.key), "own": _own(keys, e.step), "tree": e.record.tree}
        for name, e in entries.items()
        if e.record is not None
    }
    return Lock(environment_of(graph), files_of(graph, store), steps, list(sets))


def environment_of(graph: Graph) -> dict[str, str]:
    """Return the versions of everything that the steps of a graph are made with."""
    registry = Registry()
    types = {step.use: registry.find(step.use) for step in graph.steps.values()}
    needed = {name for each in types.values() for name in each.facts} | set(_ALWAYS)
    modules = {module.partition(".")[0] for each in types.values() for module in each.requires}
    if modules:
        brought = packages_distributions()
        needed |= {name for module in modules for name in brought.get(module, ())}
    plugins = {e.name: e.dist for e in entry_points(group=GROUP) if e.name in {t.namespace for t in types.values()}}
    found = {"forge": forge.__version__, "python": platform.python_version()}
    found |= {f"plugin {name}": f"{dist.name} {dist.version}" for name, dist in plugins.items() if dist is not None}
    found |= {f"package {name}": _version(name) for name in needed}
    return found | {
        f"fact {name}": str(value)
        for step in graph.steps.values()
        for name, value in step.facts.items()
        if name not in needed
    }


def files_of(graph: Graph, store: Store) -> dict[str, dict[str, dict[str, list[Any]]]]:
    """Return the digests of all files that come from outside the store."""
    keys = Keys(graph, Signatures.load(store, build_name(graph.manifest.name, graph.manifest.path)))
    return {
        step.name: {
            parameter: {name: [m.digest, m.size] for name, m in keys.file_tree(files).members.items()}
            for parameter, files in step.files.items()
        }
        for step in graph.steps.values()
        if step.files
    }


def environment_differences(lock: Lock, graph: Graph) -> list[str]:
    """Return one phrase for each version that is not the locked one."""
    now, then = environment_of(graph), dict(lock.environment)
    if graph.steps.keys() != lock.steps.keys():
        then = {name: value for name, value in then.items() if name in now}  # a part needs a part of the packages
    return [
        f"{name}: {then.get(name, 'not there')} → {now.get(name, 'not there')}"
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    ]


def input_differences(lock: Lock, graph: Graph, store: Store) -> list[str]:
    """Return one phrase for each step that reads other files than it did."""
    found = []
    for step, parameters in files_of(graph, store).items():
        for parameter, now in parameters.items():
            then = lock.files.get(step, {}).get(parameter)
            if then is None:
                found.append(f"file {parameter} of `{step}`: not in the lock")
            elif (words := member_differences(_members(now), _members(then))) or now.keys() != then.keys():
                what = f"input {step}" if graph.steps[step].kind == "source" else f"file {parameter} of `{step}`"
                found.append(f"{what}: {words}")
    return found


def step_differences(lock: Lock, graph: Graph, store: Store) -> list[str]:
    """Return one phrase for each step whose parameters, code, files or facts are not the locked ones."""
    keys = Keys(graph, Signatures.load(store, build_name(graph.manifest.name, graph.manifest.path)))
    found = [f"step `{n}`: not in the lock" for n in graph.steps if n not in lock.steps]
    for name, step in graph.steps.items():
        then = lock.steps.get(name)
        if then is None or then["own"] == _own(keys, step):
            continue
        known = Actions(store).read(then["key"])
        moved = []
        if known is not None:
            names = Names(code=keys.fingerprints(step), old_code=known.code)
            moved = own_differences(keys.own(step, ()).to_json(), known.action, names)
        found.append(f"step `{name}`: {', '.join(moved) or 'its parameters, code, files or facts are others'}")
    return found


def _own(keys: Keys, step: Step) -> str:
    """Return the digest of all parts of a key that come from no other step."""
    return digest_value("own", keys.own(step, ()).to_json())


def _members(files: Mapping[str, Sequence[Any]]) -> dict[str, Member]:
    return {name: Member(str(digest), int(size)) for name, (digest, size) in files.items()}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
