"""Turn a manifest's tables into steps: plugins asked, parameters checked, inputs joined, order found.

Every problem is collected; one ManifestError carries them all.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge.core.digest import canonical
from forge.core.errors import ForgeError, ManifestError, PluginError, Problem
from forge.core.fence import VARIABLE
from forge.core.step import Input, Resources, Step, split_reference
from forge.core.suggest import did_you_mean
from forge.plan.apart import collisions
from forge.plan.facts import facts_of
from forge.plan.graph import Graph, closure
from forge.plan.place import hub_cache, package_of
from forge.plan.sweep import BEST, expand, named
from forge.plugin.discovery import Registry
from forge.plugin.parameters import files_of, keyed, spec, structure
from forge.plugin.registry import StepType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from forge.core.fence import Fence
    from forge.core.files import Files
    from forge.core.manifest import Manifest, StepTable

_RESERVED = {"from", "resources"}
_WHOLE = ("read", "transform", "merge", "label", "request")
"""Methods that make one table, without parts."""
_VOWELS = "aeiou"
_PACKAGES = "-packages" + os.sep
"""What is in the paths of distributions, which lie below the standard library."""
_HOOK = "it registers none: mark its function `forge_register` with `@forge.hookimpl`"
_ALLOW = f"copy it into the project, or allow its folder in the environment: `{VARIABLE}=/folder`"


@attrs.define
class _Resolver:
    manifest: Manifest
    registry: Registry
    problems: list[Problem] = attrs.Factory(list)
    noticed: Callable[[StepType], object] = lambda _: None

    def problem(self, table: StepTable, key: str, message: str, hint: str | None = None) -> None:
        place = table.place_of(key)
        of_sweep = table.name.partition("[")[0]
        for known in self.problems:
            told = (known.message, known.file, known.line, (known.step or "").partition("[")[0])
            if told == (message, place.file, place.line, of_sweep):
                return  # by another point of the sweep
        self.problems.append(Problem(message, place.file, place.line, table.name, hint))


def resolve(
    manifest: Manifest,
    registry: Registry | None = None,
    targets: Iterable[str] = (),
    noticed: Callable[[StepType], object] = lambda _: None,
) -> Graph:
    """Return the manifest's graph, cut down to *targets*; raise ManifestError with all problems.

    *noticed* hears of the step types as they are found, which takes longer than all else: plugins are imported.
    """
    manifest, sweeps, problems = expand(manifest)
    resolver = _Resolver(manifest, registry or Registry(), problems, noticed)
    tables = {table.name: table for table in manifest.steps}
    types = {name: t for name, table in tables.items() if (t := _type_of(resolver, table)) is not None}
    inputs = {name: _inputs(resolver, table, tables, types.get(name)) for name, table in tables.items()}
    instances = {name: _instance(resolver, table, types[name]) for name, table in tables.items() if name in types}
    resources = {name: _resources(resolver, table) for name, table in tables.items()}
    _check_parts(resolver, tables, inputs, instances)
    _check_figures(resolver, tables, inputs, instances)
    order = _order(resolver, tables, inputs)
    if resolver.problems:
        raise ManifestError(resolver.problems)
    wanted = closure(manifest, inputs, [name for target in targets for name in named(sweeps, target) or [target]])
    # what is not asked for need not be installed, and its files need not be there
    _check_requirements(resolver, {n: types[n] for n in order if n in wanted}, tables, instances)
    steps = {
        n: _step(resolver, tables[n], types[n], instances[n], inputs[n], resources[n]) for n in order if n in wanted
    }
    resolver.problems += collisions(steps, tables, manifest.root)
    if resolver.problems:
        raise ManifestError(resolver.problems)
    return Graph(manifest, steps, resolver.registry.modules, sweeps)


def _type_of(resolver: _Resolver, table: StepTable) -> StepType | None:
    try:
        found = resolver.registry.find(table.use)
    except PluginError as error:
        if isinstance(error.__cause__, ForgeError):
            raise
        if error.__cause__ is not None:
            raise PluginError(f"{error.message}{_where(error.__cause__)}", hint=error.hint) from error.__cause__
        hint = _HOOK if _is_bare(resolver.registry, table.use) else error.hint
        resolver.problem(table, "use", f"unknown step type `{table.use}`: {error.message}", hint)
        return None
    except SystemExit as error:
        message = f"the plugin of `{table.use}` ends the process when it is imported: {error!r}{_where(error)}"
        raise PluginError(message, hint="take the `sys.exit()` out of its module") from error
    if found.kind != table.kind:
        article = "an" if found.kind[0] in _VOWELS else "a"
        resolver.problem(
            table,
            "use",
            f"`{table.use}` is {article} {found.kind}, it stands under `[{table.kind}s]`",
            f"write `[{found.kind}s.{table.name}]`",
        )
    resolver.noticed(found)
    return found


def _is_bare(registry: Registry, use: str) -> bool:
    """Say whether the plugin of a step type is there and registers nothing at all."""
    found = registry.loaded.get(use.partition(".")[0])
    return found is not None and not found.types


def _inputs(
    resolver: _Resolver, table: StepTable, tables: dict[str, StepTable], found: StepType | None
) -> tuple[Input, ...]:
    pairs = _pairs(resolver, table, tables, found)
    inputs = [i for name, reference in pairs if (i := _input(resolver, table, tables, name, reference)) is not None]
    if found is not None and not isinstance(table.values.get("from"), list):
        _check_names(resolver, table, found, [name for name, _ in pairs])
    if len(inputs) > 1 and found is not None and found.verb in ("split", "label", "request"):
        resolver.problem(table, "from", f"`{table.use}` takes one input, got {len(inputs)}")
    elif isinstance(table.values.get("from"), list):
        for reference, count in Counter(each.reference for each in inputs).items():
            if count > 1:
                resolver.problem(table, "from", f"`{reference}` stands {count} times in `from`", "name each step once")
    return tuple(inputs)


def _pairs(
    resolver: _Resolver, table: StepTable, tables: dict[str, StepTable], found: StepType | None
) -> list[tuple[str, Any]]:
    """Read `from`: a step, a list of steps, or a table of them by input name."""
    given = table.values.get("from")
    if table.kind == "source":
        if given is not None:
            resolver.problem(table, "from", "a source takes no `from`")
        return []
    if given is None:
        other = next((name for name in tables if name != table.name), "…")
        resolver.problem(table, "from", "`from` is missing", f'name a step, such as `from = "{other}"`')
        return []
    if isinstance(given, str):
        return [((_names(found) or ["rows"])[0], given)]
    if isinstance(given, dict):
        return list(given.items())
    if not isinstance(given, list):
        resolver.problem(table, "from", f"`from` must be a step, a list or a table of steps, got `{given!r}`")
        return []
    if not given:
        resolver.problem(table, "from", "`from` names no step")
    if found is not None and found.inputs is not None:
        resolver.problem(table, "from", f"`{table.use}` wants its inputs by name: {_wanted(found)}")
    # a point of a sweep is called what the step would be without it, so that its key is the same
    called = [re.sub(r"\[[^\]]*\]", "", str(reference)) for reference in given]
    return list(zip(called if len({*called}) == len(given) else map(str, given), given, strict=True))


def _check_names(resolver: _Resolver, table: StepTable, found: StepType, given: list[str]) -> None:
    """Compare the names under `from` with those that the step type declares."""
    if found.inputs is None or "from" not in table.values:
        return
    known = {n.rstrip("?") for n in found.inputs}
    for name in set(given) - known:
        resolver.problem(table, "from", f"`{table.use}` has no input `{name}`", did_you_mean(name, known))
    for name in [n for n in _names(found) if n not in given]:
        message = f"the input `{name}` of `{table.use}` is missing"
        resolver.problem(table, "from", message, f"it wants {_wanted(found)}")


def _names(found: StepType | None) -> list[str]:
    """Return the names of the inputs that must be given."""
    return [] if found is None or found.inputs is None else [n for n in found.inputs if not n.endswith("?")]


def _wanted(found: StepType) -> str:
    return ", ".join(f"`{n.rstrip('?')}`" + (" (optional)" if n.endswith("?") else "") for n in found.inputs or ())


def _input(
    resolver: _Resolver, table: StepTable, tables: dict[str, StepTable], name: str, reference: Any
) -> Input | None:
    if not isinstance(reference, str):
        resolver.problem(table, "from", f"`from` names steps by strings, got `{reference!r}`")
        return None
    step, part = split_reference(reference)
    if step in resolver.manifest.broken:
        return None
    if step not in tables:
        resolver.problem(table, "from", f"there is no step `{step}`", did_you_mean(step, tables.keys() - {table.name}))
        return None
    return Input(name, step, part)


def _instance(resolver: _Resolver, table: StepTable, found: StepType) -> Any:
    values = {key: value for key, value in table.values.items() if key not in _RESERVED}
    seed = attrs.fields_dict(found.cls).get("seed")
    # a seed that is None by default is an offer, not a need
    if "seed" not in values and seed is not None and seed.default is not None:
        values["seed"] = resolver.manifest.seed
    manifest = resolver.manifest
    made = _asked(resolver, table, "__init__", lambda: structure(found.cls, values, manifest.root, manifest.fence))
    instance, complaints = made or (None, [])
    for complaint in complaints:
        key = complaint.path[0] if complaint.path else "use"
        resolver.problem(table, key, complaint.message, complaint.hint)
    return instance


def _check_parts(
    resolver: _Resolver, tables: dict[str, StepTable], inputs: dict[str, tuple[Input, ...]], instances: dict[str, Any]
) -> None:
    for name, joined in inputs.items():
        for each in joined:
            instance = instances.get(each.step)
            offered = getattr(instance, "parts", None)
            if instance is None or not callable(offered):
                if each.part and any(callable(getattr(instance, verb, None)) for verb in _WHOLE):
                    resolver.problem(tables[name], "from", f"step `{each.step}` has no parts", f"name `{each.step}`")
                continue
            parts = list(offered())
            if not each.part and parts:
                resolver.problem(
                    tables[name],
                    "from",
                    f"step `{each.step}` has several parts, name one of them",
                    ", ".join(f"`{each.step}.{part}`" for part in parts),
                )
            elif each.part not in parts:
                hint = did_you_mean(each.part, parts)
                resolver.problem(tables[name], "from", f"step `{each.step}` has no part `{each.part}`", hint)


def _check_figures(
    resolver: _Resolver, tables: dict[str, StepTable], inputs: dict[str, tuple[Input, ...]], instances: dict[str, Any]
) -> None:
    """Compare the figure by which a best is told with those that the steps will leave, where their types say that."""
    for name, table in tables.items():
        metric = getattr(instances.get(name), "metric", None)
        if table.use != BEST or metric is None:
            continue
        for each in inputs[name]:
            offered = getattr(instances.get(each.step), "figures", None)
            if each.part or not callable(offered):
                continue
            figures = set(offered(frozenset(i.name for i in inputs[each.step])))
            if metric not in figures:
                message = f"`{each.step}` will leave no figure `{metric}`"
                resolver.problem(table, "metric", message, did_you_mean(metric, figures))
                break


def _order(resolver: _Resolver, tables: dict[str, StepTable], inputs: dict[str, tuple[Input, ...]]) -> tuple[str, ...]:
    try:
        return tuple(TopologicalSorter({n: [i.step for i in inputs[n]] for n in tables}).static_order())
    except CycleError as error:
        cycle: list[str] = error.args[1]
        resolver.problem(tables[cycle[0]], "from", "steps wait for each other: " + " → ".join(f"`{n}`" for n in cycle))
        return ()


def _resources(resolver: _Resolver, table: StepTable) -> Resources:
    values = table.values.get("resources", {})
    resources, complaints = (
        structure(Resources, values, resolver.manifest.root) if isinstance(values, dict) else (None, [])
    )
    if not isinstance(values, dict):
        resolver.problem(table, "resources", f"`resources` must be a table, got `{values!r}`")
    for complaint in complaints:
        resolver.problem(table, "resources", complaint.message.replace("parameter", "resource"), complaint.hint)
    return resources or Resources()


def _step(
    resolver: _Resolver,
    table: StepTable,
    found: StepType,
    instance: Any,
    inputs: tuple[Input, ...],
    resources: Resources,
) -> Step:
    return Step(
        name=table.name,
        kind=found.kind,
        use=found.use,
        version=found.version,
        verb=found.verb,
        instance=instance,
        params=keyed(instance),
        spec=spec(instance),
        inputs=inputs,
        files=_files(resolver, table, instance),
        facts=_facts(resolver, table, found, instance),
        resources=resources,
        heavy=found.heavy,
        network=found.network,
        destination=instance.destination() if callable(getattr(instance, "destination", None)) else None,
        previous=found.previous,
    )


def _files(resolver: _Resolver, table: StepTable, instance: Any) -> dict[str, Files]:
    found: dict[str, Files] = _asked(resolver, table, "files", lambda: files_of(instance)) or {}
    # beside a file that a person gave lies what it names; a manifest's own files have passed the fence already
    beside = {file.path.parent for name, files in found.items() if name != "files()" for file in files}
    for file in found.get("files()", ()):
        if not _may_be_read(resolver.manifest.fence, file.path, beside):
            resolver.problem(table, "use", f"`{table.use}` names `{file.path}`, which leads out of the project", _ALLOW)
            break
    return found


def _may_be_read(fence: Fence | None, path: Path, beside: Iterable[Path]) -> bool:
    """Say whether a file that a class named by itself lies in the project, a model cache or an installed package."""
    if fence is None or fence.holds(path):
        return True  # without a fence the manifest was made by a program, not read
    package = package_of(str(path))
    homes = [fence.root / home for home in (hub_cache(), package) if home is not None]
    return attrs.evolve(fence, allowed=(*fence.allowed, *homes, *beside)).holds(path)


def _asked(resolver: _Resolver, table: StepTable, method: str, ask: Callable[[], Any]) -> Any:
    """Return what a class's own method gives; None, and a problem of the step, where it fails."""
    try:
        return ask()
    except ForgeError as error:
        resolver.problem(table, "use", error.message, error.hint)
    except Exception as error:  # noqa: BLE001  # a plugin's: the step that asks for it is to be named
        resolver.problem(table, "use", f"`{method}` of `{table.use}` fails: {error!r}{_where(error)}")
    return None


def _where(error: BaseException) -> str:
    """Return the line of a plugin that an error comes from, in brackets; nothing where none is known."""
    import traceback

    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    own = (os.path.dirname(str(forge.__file__)), os.path.dirname(os.__file__), "<")
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if _PACKAGES in f.filename or not f.filename.startswith(own)
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _facts(resolver: _Resolver, table: StepTable, found: StepType, instance: Any) -> dict[str, str]:
    facts: dict[str, str] = _asked(resolver, table, "facts", lambda: facts_of(found, instance)) or {}
    for name, value in facts.items():
        try:
            canonical({name: value})
        except (TypeError, ValueError):
            message = f"`facts` of `{table.use}` must give values that JSON has, got `{value!r}` as `{name}`"
            resolver.problem(table, "use", message, "write it as a text that changes where the result does")
            return {}
    return facts


def _check_requirements(
    resolver: _Resolver, types: Mapping[str, StepType], tables: dict[str, StepTable], instances: Mapping[str, Any]
) -> None:
    for name, found in types.items():
        spares = getattr(instances[name], "spares", None)
        needless = frozenset(spares()) if callable(spares) else frozenset()
        missing = [m for m in found.requires if m not in needless and importlib.util.find_spec(m) is None]
        if missing:
            what = ", ".join(f"`{m}`" for m in missing)
            verb = "is" if len(missing) == 1 else "are"
            hint = f"pip install 'forge[{found.extra}]'" if found.extra else None
            resolver.problem(tables[name], "use", f"`{found.use}` needs {what}, which {verb} not installed", hint)
