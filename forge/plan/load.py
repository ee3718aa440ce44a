"""Read a manifest: TOML text, what it extends, `--set`, and `${parameters}`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.errors import ManifestError, Problem, UsageError
from forge.core.fence import VARIABLE, Fence
from forge.core.manifest import SECTIONS, Manifest, Place, StepTable
from forge.core.suggest import did_you_mean
from forge.plan.lines import lines_of
from forge.plan.place import given, project_of, root_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_REFERENCE = re.compile(r"\$?\$\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_HEAD = {"name", "seed", "extends", "root"}
_TABLES = {"forge", "params", "executor"}
"""Tables that hold no steps."""


@attrs.define
class _Text:
    """Hold one or more merged TOML documents and where each of their keys stands."""

    document: dict[str, Any]
    places: dict[tuple[str, ...], Place]
    files: list[Path]
    problems: list[Problem]

    def problem(self, message: str, path: tuple[str, ...], *, step: str | None = None, hint: str | None = None) -> None:
        place = self.place(path)
        self.problems.append(Problem(message, place.file, place.line, step, hint))

    def place(self, path: tuple[str, ...]) -> Place:
        for depth in range(len(path), -1, -1):
            if path[:depth] in self.places:
                return self.places[path[:depth]]
        return self.places[()]


def load(path: Path | str, sets: Iterable[str] = ()) -> Manifest:
    """Return the manifest at *path* with *sets* (``key=value``) applied.

    Raises ManifestError with every problem of the text; what plugins think of it is `forge.plan.resolve`'s business.
    """
    text = _read(Path(path), (), None)
    _check_head(text)
    params = _table(text, "params")
    _apply_sets(text, params, sets)
    params = _fill_params(text, params)
    steps = _steps(text, params)
    head = text.document.get("forge", {})
    own = Path(path)
    root = root_of(own, head)
    if not Fence.around(project_of(own)).holds(root):
        hint = f"allow that folder in the environment: `{VARIABLE}={root}`"
        text.problem(f'`root = "{head["root"]}"` leads out of the project', ("forge", "root"), hint=hint)
    fence = Fence.around(root)
    for path_given in given(text.places, params, steps):
        fence = fence.allow(path_given)
    broken = frozenset(problem.step for problem in text.problems if problem.step is not None)
    manifest = Manifest(
        name=head.get("name", own.stem),
        path=own,
        root=root,
        seed=head.get("seed", 0),
        params=params,
        steps=tuple(step for step in steps if step.name not in broken),
        files=tuple(text.files),
        broken=broken,
        fence=fence,
        executor=_fill(_table(text, "executor"), params, text, ("executor",), None),
    )
    if text.problems:
        raise ManifestError(text.problems, manifest)
    return manifest


def _read(path: Path, chain: tuple[Path, ...], fence: Fence | None) -> _Text:
    shown = str(path)
    if path.resolve() in chain:
        raise ManifestError([Problem(f"`{shown}` extends itself", str(chain[0]))])
    try:
        raw = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        if chain:
            raise ManifestError(
                [Problem(f"the manifest `{shown}` that is extended does not exist", str(chain[-1]))]
            ) from None
        raise UsageError(f"no manifest at `{shown}`", hint=_nearby(path)) from None
    except IsADirectoryError:
        raise UsageError(f"`{shown}` is a folder, not a manifest", hint=_nearby(path / "x")) from None
    except UnicodeDecodeError as error:
        raise ManifestError([Problem(f"`{shown}` is not UTF-8 text: byte {error.start}", shown)]) from None
    except OSError as error:
        raise UsageError(f"`{shown}` can't be read: {error.strerror}") from None
    document = _parsed(raw, shown)
    places = {key: Place(shown, line) for key, line in lines_of(raw).items()} | {(): Place(shown)}
    text = _Text(document, places, [path], [])
    head = document.get("forge")
    base = head.get("extends") if isinstance(head, dict) else None
    if base is None:
        return text
    if not isinstance(base, str):
        text.problem(f"`extends` must be the path of a manifest, got `{base!r}`", ("forge", "extends"))
        return text
    fence = fence or Fence.around(project_of(path))
    if not fence.holds((path.parent / base).absolute()):
        hint = f"copy it into the project, or allow its folder in the environment: `{VARIABLE}=/folder`"
        text.problem(f'`extends = "{base}"` leads out of the project', ("forge", "extends"), hint=hint)
        return text
    return _merge(_read(path.parent / base, (*chain, path.resolve()), fence), text)


def _parsed(raw: str, shown: str) -> dict[str, Any]:
    try:
        return tomllib.loads(raw)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise ManifestError([Problem(f"not TOML: {error}", shown, int(line.group(1)) if line else None)]) from None
    except (RecursionError, ValueError) as error:
        raise ManifestError([Problem(f"not a manifest: {error}", shown)]) from None


def _nearby(path: Path) -> str | None:
    """Suggest a manifest that lies where *path* should, or where manifests usually lie."""
    folders = [path.parent, path.parent / "manifests"]
    found = sorted(str(p) for folder in folders if folder.is_dir() for p in folder.glob("*.toml"))
    return did_you_mean(str(path), [name for name in found if Path(name).name != "pyproject.toml"])


def _merge(base: _Text, own: _Text) -> _Text:
    """Lay *own* over *base*, table by table; a step that changes its `use` starts afresh."""

    def lay(under: Any, over: Any) -> Any:
        if not (isinstance(under, dict) and isinstance(over, dict)):
            return over
        if "use" in over and over["use"] != under.get("use", over["use"]):
            return over
        return under | {key: lay(under[key], value) if key in under else value for key, value in over.items()}

    return _Text(
        lay(base.document, own.document), base.places | own.places, own.files + base.files, base.problems + own.problems
    )


def _check_head(text: _Text) -> None:
    head = text.document.setdefault("forge", {})
    if not isinstance(head, dict):
        text.problem("`forge` must be a table", ("forge",))
        text.document["forge"] = head = {}
    for key in head.keys() - _HEAD:
        text.problem(f"`[forge]` has no key `{key}`", ("forge", key), hint=did_you_mean(key, _HEAD))
    for key, wanted in (("name", str), ("seed", int), ("root", str)):
        if key in head and (not isinstance(head[key], wanted) or isinstance(head[key], bool)):
            text.problem(f"`{key}` must be {_KINDS[wanted]}, got `{head[key]!r}`", ("forge", key))
            del head[key]
    for key in text.document.keys() - SECTIONS.keys() - _TABLES:
        text.problem(f"there is no table `[{key}]`", (key,), hint=did_you_mean(key, [*SECTIONS, *_TABLES]))


_KINDS = {str: "a string", int: "an integer", dict: "a table"}


def _table(text: _Text, key: str) -> dict[str, Any]:
    value = text.document.get(key, {})
    if isinstance(value, dict):
        return value
    text.problem(f"`{key}` must be a table, got `{value!r}`", (key,))
    return {}


def _apply_sets(text: _Text, params: dict[str, Any], sets: Iterable[str]) -> None:
    """Apply ``name=value`` to `[params]` and ``step.parameter=value`` to a step."""
    for item in sets:
        path, equals, value = item.partition("=")
        if not equals or not path:
            raise UsageError(f"`--set {item}` is not of the form key=value")
        if path in params:
            params[path] = _parse(value, _meant(params[path], params))
            text.places["params", path] = Place(f"--set {path}")
            continue
        keys = path.split(".")
        steps = {name: section for section in SECTIONS for name in _table(text, section)}
        if keys[0] in SECTIONS and len(keys) > 1:
            keys = keys[1:]
        if len(keys) == 1 or keys[0] not in steps:
            hint = did_you_mean(keys[0] if len(keys) > 1 else path, [*params, *steps])
            what = f"no step `{keys[0]}`" if len(keys) > 1 else f"no parameter `{path}` in `[params]`"
            raise UsageError(f"`--set {item}`: there is {what}", hint=hint)
        section = steps[keys[0]]
        table: dict[str, Any] = text.document[section][keys[0]]
        for key in keys[1:-1]:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise UsageError(f"`--set {item}`: `{key}` is not a table")
        table[keys[-1]] = _parse(value, _meant(table.get(keys[-1]), params))
        text.places[section, keys[0], *keys[1:]] = Place(f"--set {path}")


def _meant(value: Any, params: Mapping[str, Any]) -> Any:
    """Return what a value comes to that is a reference to a parameter and nothing else."""
    for _ in params:
        whole = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if whole is None or value.startswith("$$") or whole.group(1) not in params:
            break
        value = params[whole.group(1)]
    return value


def _parse(value: str, like: Any) -> Any:
    """Read *value* as TOML where that gives something, else as a string; a string stays one but for a list."""
    if isinstance(like, str) and not value.startswith(('"', "'", "[")):
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _fill_params(text: _Text, params: Mapping[str, Any]) -> dict[str, Any]:
    """Fill references from one parameter to others."""
    filled: dict[str, Any] = {}

    def value_of(name: str, trail: tuple[str, ...]) -> Any:
        if name in filled:
            return filled[name]
        if name in trail:
            text.problem(f"parameter `{name}` refers to itself", ("params", name))
            return ""
        known = {key: (lambda key=key: value_of(key, (*trail, name))) for key in params}
        filled[name] = _fill(params[name], known, text, ("params", name), None)
        return filled[name]

    for name in params:
        value_of(name, ())
    return filled


def _fill(value: Any, known: Mapping[str, Any], text: _Text, path: tuple[str, ...], step: str | None) -> Any:
    """Replace ``${name}``; alone in a string it keeps the parameter's type, ``$${`` is a plain ``${``."""
    if isinstance(value, dict):
        return {key: _fill(entry, known, text, (*path, key), step) for key, entry in value.items()}
    if isinstance(value, list):
        return [_fill(entry, known, text, path, step) for entry in value]
    if not isinstance(value, str) or "${" not in value:
        return value

    def get(name: str) -> Any:
        if name not in known:
            hint = did_you_mean(name, known) if known else "declare it under `[params]`"
            text.problem(f"there is no parameter `{name}`", path, step=step, hint=hint)
            return ""
        entry = known[name]
        return entry() if callable(entry) else entry

    whole = _REFERENCE.fullmatch(value)
    if whole and not value.startswith("$$"):
        return get(whole.group(1))
    return _REFERENCE.sub(lambda m: m.group(0)[1:] if m.group(0).startswith("$$") else str(get(m.group(1))), value)


def _steps(text: _Text, params: Mapping[str, Any]) -> list[StepTable]:
    steps: list[StepTable] = []
    seen: dict[str, str] = {}
    for section, kind in SECTIONS.items():
        for name, table in _table(text, section).items():
            path = (section, name)
            if not isinstance(table, dict):
                text.problem(f"step `{name}` must be a table", path, step=name)
                continue
            if not _NAME.match(name):
                text.problem(f"`{name}` is not a name for a step: letters, digits, `_` and `-`", path, step=name)
                continue
            if name in seen:
                text.problem(f"step `{name}` stands in `[{seen[name]}]` and in `[{section}]`", path, step=name)
                continue
            seen[name] = section
            use = table.get("use")
            if not isinstance(use, str) or use.count(".") != 1 or use.startswith(".") or use.endswith("."):
                got = f"must be of that form, got `{use!r}`" if use is not None else "is missing"
                text.problem(f'`use = "plugin.step-type"` {got}', (*path, "use"), step=name)
                continue
            values = {k: _fill(v, params, text, (*path, k), name) for k, v in table.items() if k != "use"}
            places = {key: text.place((*path, key)) for key in table}
            steps.append(StepTable(name, kind, use, values, text.place(path), places))
    if not steps and not text.problems:
        text.problem("the manifest has no steps", ())
    return steps
