"""A resolved graph kept between builds, so that a change of data alone needs no TOML, no plugin and no parameters.

It holds as long as the manifest's texts, the plugins' code and the installed distributions are as they were; whoever
thaws it has made sure of that.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.fence import Fence, Outside
from forge.core.files import File, Files, fixed_part
from forge.core.manifest import Manifest
from forge.core.step import Input, Resources, Step
from forge.plan.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forge.plan.keys import Keys


@attrs.frozen
class Known:
    """Say what a step was when last everything was there: its action key and its artifact's digest."""

    key: str
    tree: str


def freeze(keys: Keys) -> dict[str, Any]:
    """Return a graph and what is known of its step types' code, as JSON values."""
    manifest = keys.graph.manifest
    return {
        "manifest": [manifest.name, str(manifest.path), str(manifest.root), manifest.seed],
        "modules": dict(keys.graph.modules),
        "code": keys.code,
        "steps": {name: _frozen(step) for name, step in keys.graph.steps.items()},
    }


def thaw(value: Mapping[str, Any], changed: Iterable[str]) -> Graph | None:
    """Return the graph of the steps *changed* and of all that follow from them, or None where that takes more.

    The files of changed steps are looked up again.
    Only sources can be made again from what was kept: other steps' classes may have read their files' contents.
    """
    name, path, root, seed = value["manifest"]
    manifest = Manifest(name, Path(path), Path(root), seed, {}, (), (Path(path),))
    steps = value["steps"]
    changed = set(changed)
    wanted = _cone(steps, changed)
    found: dict[str, Step] = {}
    for each in steps:
        if each not in wanted:
            continue
        step = _thawed(each, steps[each])
        if each in changed:
            fresh = _looked_up(step, manifest.root) if steps[each].get("fresh") else None
            if fresh is None:
                return None
            step = fresh
        found[each] = step
    return Graph(manifest, found, value["modules"])


def refrozen(value: dict[str, Any], steps: Mapping[str, Step]) -> bool:
    """Put the files that *steps* have now into *value*; say whether any step has others than before."""
    moved = False
    for name, step in steps.items():
        now = {"spec": step.spec, "files": _files(step)}
        moved = moved or any(value["steps"][name].get(key) != entry for key, entry in now.items())
        value["steps"][name] |= now
    return moved


def _files(step: Step) -> dict[str, Any]:
    return {name: [found.pattern, [[f.name, str(f.path)] for f in found]] for name, found in step.files.items()}


def _frozen(step: Step) -> dict[str, Any]:
    resources = {k: v for k, v in attrs.asdict(step.resources).items() if v != getattr(Resources(), k)}
    plain = not any(callable(getattr(step.instance, name, None)) for name in ("facts", "files"))
    value = {
        "step": [step.kind, step.use, step.version, step.verb],
        "params": step.params,
        "spec": step.spec,
        "inputs": [[i.name, i.step, i.part] for i in step.inputs],
        "facts": step.facts,
        "resources": resources,
        "heavy": step.heavy,
        "network": step.network,
        "destination": step.destination,
        "previous": step.previous,
        "fresh": step.kind == "source" and plain and bool(step.files),
        "files": _files(step),
    }
    return {name: entry for name, entry in value.items() if entry or name == "inputs"}


def _thawed(name: str, value: Mapping[str, Any]) -> Step:
    kind, use, version, verb = value["step"]
    files = value.get("files", {})
    return Step(
        name=name,
        kind=kind,
        use=use,
        version=version,
        verb=verb,
        instance=None,
        params=value.get("params", {}),
        spec=value.get("spec", {}),
        inputs=tuple(Input(*each) for each in value["inputs"]),
        files={k: Files(p, tuple(File(n, Path(f)) for n, f in found)) for k, (p, found) in files.items()},
        facts=value.get("facts", {}),
        resources=Resources(**value.get("resources", {})),
        heavy=value.get("heavy", False),
        network=value.get("network", False),
        destination=value.get("destination"),
        previous=value.get("previous", ""),
    )


def _cone(steps: Mapping[str, Any], changed: set[str]) -> set[str]:
    """Return the steps *changed* and all that need them, at any distance; *steps* are in order."""
    found = set(changed)
    for name, step in steps.items():
        if any(needed in found for _, needed, _ in step["inputs"]):
            found.add(name)
    return found


def _is_linked(files: Files, root: Path) -> bool:
    """Say whether links may lead out of what is matched: whoever looks at them knows what a person allowed."""
    try:
        Fence(root).check_links(files)
    except Outside:
        return True
    return (root / fixed_part(files.pattern)[0]).is_symlink()


def _looked_up(step: Step, root: Path) -> Step | None:
    """Return *step* with the files that its globs match now; None where one matches nothing, or links."""
    spec, files = dict(step.spec), dict(step.files)
    for name, known in step.files.items():
        if "file" in spec[name]:
            if not known[0].path.is_file() or known[0].path.is_symlink():
                return None
            continue
        files[name] = found = Files.match(known.pattern, root)
        if not found or _is_linked(found, root):
            return None
        spec[name] = {"files": [[f.name, str(f.path)] for f in found], "pattern": found.pattern}
    return attrs.evolve(step, spec=spec, files=files)
