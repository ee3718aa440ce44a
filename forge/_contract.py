"""What `forge.testing.check_plugin` checks, one function a promise."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import attrs

import forge
from forge.core.digest import canonical
from forge.core.errors import PluginError
from forge.core.files import File, Files
from forge.plugin.discovery import Registry
from forge.plugin.fingerprint import describe, digest_data, fingerprint
from forge.plugin.parameters import keyed, spec, structure, types_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forge.plugin.registry import StepType

HEAVY = frozenset(
    {
        "aiohttp", "bitsandbytes", "gguf", "jinja2", "krippendorff", "llama_cpp", "matplotlib", "numpy", "openai",
        "pandas", "peft", "polars",
        "pyarrow", "rensa", "scipy", "sklearn", "torch", "transformers", "unsloth",
    }
)  # fmt: skip
"""Modules that no plugin may import when it is loaded: a build of hits must not pay for them."""

_GUESSES: dict[type, tuple[Any, ...]] = {
    str: ("text", "a/b", "http://localhost:1/v1", "1h"),
    int: (1, 8, 0, 100),
    float: (0.5, 1.0, 0.0, 100.0),
    bool: (False,),
}
_MOST_GUESSES = 256
_LOADER = """
import json, sys
from forge.plugin.discovery import Registry
Registry().plugin(sys.argv[1])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def problems_of(namespace: str, examples: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return everything in which a plugin breaks the contract, in words."""
    registry = Registry()
    try:
        found = registry.plugin(namespace).types
    except PluginError as error:
        return [error.message]
    problems = [*_heavy(namespace), *(p for module in registry.entries(namespace).values() for p in _imports(module))]
    listens = [name for name in ("forge_chat", "forge_metrics") if getattr(registry.manager.hook, name).get_hookimpls()]
    if not found and not listens:
        problems.append("it registers no step type, and implements no other hook")
    problems += [f"`examples` names `{name}`, which it does not register" for name in examples if name not in found]
    packages = registry.packages
    for name, each in found.items():
        problems += [f"`{each.use}`: {p}" for p in _step_type(each, examples.get(name), packages)]
    return problems


def _heavy(namespace: str) -> Iterator[str]:
    """Load the plugin in a fresh process, for this one has much loaded already."""
    done = subprocess.run(
        [sys.executable, "-c", _LOADER, namespace], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        yield f"it can't be loaded in a process of its own: {done.stderr.strip()}"
        return
    loaded = HEAVY & set(json.loads(done.stdout.splitlines()[-1]))
    if loaded:
        yield f"loading it imports {', '.join(f'`{m}`' for m in sorted(loaded))}: import them inside of functions"


def _imports(module: str) -> Iterator[str]:
    """Look for names of forge's that are not public."""
    origin = getattr(find_spec(module), "origin", None)
    if origin is None:
        yield f"module `{module}` has no source"
        return
    home = Path(origin)
    for path in sorted(home.parent.rglob("*.py")) if home.name == "__init__.py" else [home]:
        for node in ast.walk(ast.parse(path.read_bytes())):
            for name in _private_names(node):
                yield f"`{path.name}` imports `{name}`, which is not one of forge's public names"


def _private_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.startswith("forge.")]
    if not isinstance(node, ast.ImportFrom) or node.level or (node.module or "").partition(".")[0] != "forge":
        return []
    return [f"{node.module}.{a.name}" for a in node.names if node.module != "forge" or a.name not in forge.__all__]


def _step_type(each: StepType, example: Mapping[str, Any] | None, packages: frozenset[str]) -> Iterator[str]:
    if not each.summary:
        yield "its class has no docstring"
    if not each.version.strip():
        yield "its version is empty"
    untyped = list(_untyped(each.cls))
    yield from untyped
    prints = fingerprint(each.cls, packages, describe, digest_data)
    if not prints.get(each.cls.__module__, {}).get(each.cls.__name__):
        yield f"its code has no fingerprint: `{each.cls.__module__}` has no source for `{each.cls.__name__}`"
    if untyped:
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "file").write_text("{}\n", encoding="utf-8")
        instance, complaint = _instance(each.cls, example, Path(folder))
        if instance is None:
            yield f'no parameters can be guessed ({complaint}): give some, `examples={{"{each.name}": {{…}}}}`'
            return
        yield from _values(each, instance, Path(folder))


def _untyped(cls: type) -> Iterator[str]:
    try:
        hints = types_of(cls)
    except PluginError as error:
        yield f"{error.message}: {error.hint}"
        return
    for field in attrs.fields(cls):
        if not _expressible(hints[field.name]):
            yield f"a manifest can't express the type of its parameter `{field.name}`: `{hints[field.name]}`"


def _expressible(wanted: Any) -> bool:
    origin, arguments = get_origin(wanted), [a for a in get_args(wanted) if a not in (Ellipsis, type(None))]
    if origin is Literal:
        return True
    if origin in (tuple, list, Union, types.UnionType):
        return bool(arguments) and all(_expressible(a) for a in arguments)
    if origin in (dict, Mapping):
        return arguments[0] is str and (arguments[1] is Any or _expressible(arguments[1]))
    if attrs.has(wanted) and wanted not in (File, Files):
        return not list(_untyped(wanted))
    return wanted in (*_GUESSES, File, Files)


def _instance(cls: type, example: Mapping[str, Any] | None, root: Path) -> tuple[Any, str]:
    """Return an instance made of *example*, or of guesses for what the class requires."""
    complaint = ""
    choices = [example] if example is not None else _guesses(cls)
    for index, values in enumerate(choices):
        try:
            instance, complaints = structure(cls, values, root if example is None else Path.cwd())
        except Exception as error:  # noqa: BLE001  # a plugin's own check may raise anything
            complaint = complaint or f"{type(error).__name__}: {error}"
            continue
        if instance is not None:
            return instance, ""
        complaint = complaint or "; ".join(c.message for c in complaints)
        if index >= _MOST_GUESSES:
            break
    return None, complaint


def _guesses(cls: type) -> Iterator[dict[str, Any]]:
    hints = types_of(cls)
    required = [f.name for f in attrs.fields(cls) if f.default is attrs.NOTHING]
    for values in product(*(_values_of(hints[name]) for name in required)):
        yield dict(zip(required, values, strict=True))


def _values_of(wanted: Any) -> list[Any]:
    origin, arguments = get_origin(wanted), [a for a in get_args(wanted) if a not in (Ellipsis, type(None))]
    if origin is Literal:
        return list(arguments)
    if origin in (tuple, list):
        return [[value] for value in _values_of(arguments[0])]
    if origin in (dict, Mapping):
        return [{"a": value} for value in ([1] if arguments[1] is Any else _values_of(arguments[1]))]
    if origin in (Union, types.UnionType):
        return [value for a in arguments for value in _values_of(a)]
    if attrs.has(wanted) and wanted not in (File, Files):
        return list(_guesses(wanted))
    return list(_GUESSES.get(wanted, ("file",)))


def _values(each: StepType, instance: Any, root: Path) -> Iterator[str]:
    field = next((f.name for f in attrs.fields(each.cls)), "anything")
    try:
        setattr(instance, field, getattr(instance, field, None))
    except attrs.exceptions.FrozenInstanceError:
        pass
    else:
        yield "its class is not frozen: decorate it with `@attrs.frozen`"
    try:
        canonical(spec(instance))
    except (TypeError, ValueError) as error:
        yield f"its parameters are no JSON values: {error}"
        return
    again, complaints = structure(each.cls, json.loads(json.dumps(spec(instance))), root)
    if complaints or again != instance:
        reasons = "; ".join(c.message for c in complaints) or f"`{instance}` became `{again}`"
        yield f"its parameters do not survive the way to a worker: {reasons}"
    required = {f.name for f in attrs.fields(each.cls) if f.default is attrs.NOTHING}
    defaults = {
        f.name: value
        for f in attrs.fields(each.cls)
        if f.name not in spec(instance) and (value := getattr(instance, f.name)) is not None
    }
    spelled, complaints = structure(each.cls, json.loads(json.dumps(spec(instance) | _json(defaults))), root)
    if complaints:
        yield "its defaults are refused when they are spelled out: " + "; ".join(c.message for c in complaints)
    elif keyed(spelled) != keyed(instance):
        yield f"its defaults change the key when they are spelled out: `{keyed(spelled)}`, not `{keyed(instance)}`"
    bare, _ = structure(each.cls, {n: v for n, v in spec(instance).items() if n in required}, root)
    if bare is not None and keyed(bare).keys() - required:
        yield f"its defaults are in the key: {', '.join(f'`{n}`' for n in sorted(keyed(bare).keys() - required))}"


def _json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return attrs values, tuples and mappings as JSON values."""

    def plain(value: Any) -> Any:
        if attrs.has(type(value)):
            return {f.name: plain(getattr(value, f.name)) for f in attrs.fields(type(value))}
        if isinstance(value, Mapping):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, tuple | list):
            return [plain(v) for v in value]
        return value

    return {name: plain(value) for name, value in values.items()}
