"""Fingerprints of code: what a step type's source means, without comments, docstrings, layout and log lines.

A step type's code is the module that defines its class and every module it imports, at any depth, from packages
that plugins live in. Forge itself and third-party packages are not part of it: what a result depends on there is
declared as a fact (docs/decisions/0004-code-fingerprint.md). A class's method ``preflight`` and what it imports are
not part of it either: it looks ahead, and changes no result.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge.core.digest import digest_bytes, digest_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forge.core.action import Fingerprints

_LOGGERS = {"log", "logger", "logging", "_log", "_logger", "LOG", "LOGGER"}
_LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
_RUN_METHODS = {"log", "progress", "warn"}
_LOOK_AHEAD = "preflight"
_CODE = {".py", ".pyc", ".pyi"}
_PATH = r"[\w\-./]{1,100}"
"""A text that may name a module, or a file beside it."""


def fingerprint(
    cls: type,
    packages: frozenset[str],
    source: Callable[[Path], Any],
    data: Callable[[Path], str],
    looked_into: Callable[[Path], object] = lambda _: None,
) -> Fingerprints:
    """Return the fingerprints of all modules that *cls* uses from *packages* (top-level names).

    *source* maps a source file to `describe`'s answer, *data* a data file to the digest of its bytes; both may
    remember them while the file is unchanged. *looked_into* hears of each folder of data, which may be empty.
    """
    tracked = packages | {cls.__module__.partition(".")[0]}
    found: Fingerprints = {}
    folders: dict[tuple[Path, str], frozenset[str] | None] = {}
    queue = [cls.__module__]
    while queue:
        module = queue.pop()
        if module in found:
            continue
        path = _source(module)
        if path is None:
            found[module] = {"": "no source"}
            continue
        described = source(path)
        found[module] = described["definitions"]
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        queue += [m for m in _used(described["imports"], package) if m.partition(".")[0] in tracked and _source(m)]
        for text in described["texts"]:  # `importlib.resources` takes a package by its name
            place = _source(text) if "." in text and text.partition(".")[0] in tracked else None
            if place is not None and place.name == "__init__.py":
                folders[place.parent, text] = None
        if package:
            folders[path.parent, package] = None
        else:  # in the folder of a single module lies what is nobody's: `site-packages`, a project with its store
            named = frozenset(text.partition("/")[0] for text in described["texts"])
            folders[path.parent, module] = named
    for (folder, package), names in sorted(folders.items()):
        digests = {p.relative_to(folder).as_posix(): data(p) for p in _data_files(folder, names, looked_into)}
        if digests:
            found[f"{package}/*"] = digests
    return found


def name_of(module: str, definition: str) -> str:
    """Return a definition as people find it: ``forge_text/filters.py: function keep``."""
    if module.endswith("/*"):
        return f"{module[:-2].replace('.', '/')}/{definition}"
    path = _source(module)
    package = path is not None and path.name == "__init__.py"
    file = module.replace(".", "/") + ("/__init__.py" if package else ".py")
    return f"{file}: {_kind_of(path, definition)}{definition}" if definition else f"{file}: module level"


def _kind_of(path: Path | None, definition: str) -> str:
    """Return ``class`` or ``function`` and a blank; nothing where the source no longer says."""
    try:
        body = ast.parse(path.read_bytes()).body if path is not None else []
    except (OSError, SyntaxError, ValueError):
        return ""
    kinds = {ast.ClassDef: "class ", ast.FunctionDef: "function ", ast.AsyncFunctionDef: "function "}
    return next((kinds[type(n)] for n in body if type(n) in kinds and getattr(n, "name", "") == definition), "")


def digest_data(path: Path) -> str:
    """Return the digest of a data file's bytes."""
    return digest_bytes(path.read_bytes())


def describe(path: Path) -> dict[str, Any]:
    """Return the definitions' fingerprints and the imports of a source file, as JSON values."""
    tree = ast.parse(path.read_bytes())
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            node.body = [each for each in node.body if getattr(each, "name", "") != _LOOK_AHEAD]
    definitions: dict[str, str] = {}
    for node in tree.body:
        name = getattr(node, "name", "")
        meaning = _meaning(node)
        if meaning is not None:
            previous = definitions.get(name, "")
            definitions[name] = digest_value("definition", [previous, meaning])
    imports: list[list[Any]] = []
    texts: set[str] = set()
    for each in ast.walk(tree):
        if isinstance(each, ast.Import):
            imports += [[0, name, ""] for alias in each.names for name in _bound(alias)]
        elif isinstance(each, ast.ImportFrom):
            imports += [[each.level, each.module or "", alias.name] for alias in each.names]
        elif isinstance(each, ast.Constant) and isinstance(each.value, str) and re.fullmatch(_PATH, each.value):
            texts.add(each.value)
    return {"definitions": definitions, "imports": imports, "texts": sorted(texts)}


def _bound(alias: ast.alias) -> list[str]:
    """Return the modules that an `import` lets the code reach: `import a.b` gives it `a` as well."""
    parts = alias.name.split(".")
    return [alias.name] if alias.asname else [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _used(imports: Iterable[list[Any]], package: str) -> Iterable[str]:
    for level, module, name in imports:
        base = module
        if level:
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - level + 1] + ([module] if module else []))
        if name and _source(f"{base}.{name}") is not None:
            yield f"{base}.{name}"
        else:
            yield base


@cache
def _source(module: str) -> Path | None:
    """Return the source file of a module without importing it."""
    if module in sys.modules and getattr(sys.modules[module], "__file__", None):
        return Path(str(sys.modules[module].__file__))
    top, _, rest = module.partition(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin:
        return None
    if not rest:
        return Path(spec.origin)
    base = Path(spec.origin).parent.joinpath(*rest.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _data_files(folder: Path, names: frozenset[str] | None, looked_into: Callable[[Path], object]) -> list[Path]:
    """Return the data beside a module, and in the folders below it that are no packages; of *names* alone, if given."""
    found: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if _is_litter(entry.name) or not (names is None or entry.name in names):
            continue
        if entry.is_file():
            found.append(entry)
        elif entry.is_dir() and not (entry / "__init__.py").exists():
            every = (p for p in sorted(entry.rglob("*")) if not any(map(_is_litter, p.relative_to(entry).parts)))
            for path in (entry, *every):
                if path.is_file():
                    found.append(path)
                else:
                    looked_into(path)
    return [path for path in found if path.suffix not in _CODE]


def _is_litter(name: str) -> bool:
    """Say whether a name is one that editors, tools and systems leave behind."""
    return name == "__pycache__" or name.startswith(".") or name.endswith("~")


def _meaning(node: ast.AST) -> Any:
    """Return a statement as JSON values that do not depend on the Python version, or None if it means nothing."""
    if isinstance(node, ast.Expr) and (_is_text(node.value) or _is_log(node.value)):
        return None
    fields: list[Any] = [type(node).__name__]
    for name, value in ast.iter_fields(node):
        if name in ("ctx", "type_comment", "kind") or value is None or value == []:
            continue
        fields.append([name, _field(value)])
    return fields


def _field(value: Any) -> Any:
    if isinstance(value, list):
        # None stands for `**` among a dict's keys, and for a parameter without a default; a docstring means nothing
        return [m for v in value if (m := _field(v)) is not None or v is None]
    if isinstance(value, ast.AST):
        return _meaning(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    return [type(value).__name__, repr(value)]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_log(node: ast.AST) -> bool:
    if not (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
    ):
        return False
    owner, method = node.func.value.id, node.func.attr
    return (owner in _LOGGERS and method in _LOG_METHODS) or (owner == "run" and method in _RUN_METHODS)
