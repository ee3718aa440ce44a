"""Turn a manifest's values into a step type's class and back, strictly.

``"false"`` is not True, ``1.9`` is not 1, ``1`` is ``1.0`` where a float is wanted, and a name that the class does
not have is a problem with a "did you mean".
"""

from __future__ import annotations

import inspect
import re
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import cattrs
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.gen import make_dict_structure_fn

from forge.core.errors import ForgeError, PluginError
from forge.core.files import File, Files
from forge.core.suggest import did_you_mean
from forge.plugin.registry import UNKEYED

_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}


@attrs.frozen
class Complaint:
    """Say what is wrong with one value: the path of keys to it, the message, and a hint."""

    path: tuple[str, ...]
    message: str
    hint: str | None = None


def structure(cls: type, values: Mapping[str, Any], root: Path) -> tuple[Any, list[Complaint]]:
    """Return an instance of *cls* made of *values*, or None and all complaints; files are looked up below *root*."""
    types_of(cls)
    try:
        return _converter(root).structure(dict(values), cls), []
    except ClassValidationError as error:
        return None, _refusals(cls, values, root) or _complaints(error, (), cls)
    except (ValueError, TypeError) as error:
        return None, [Complaint((), str(error))]


def _refusals(cls: type, values: Mapping[str, Any], root: Path) -> list[Complaint]:
    """Return what the validators say, each of its own parameter; attrs itself stops at the first and names none."""
    try:
        with attrs.validators.disabled():
            instance: Any = _converter(root).structure(dict(values), cls)
    except (ClassValidationError, ForgeError, ValueError, TypeError):
        return []
    found = []
    for field in attrs.fields(cls):
        if field.validator is not None:
            try:
                field.validator(instance, field, getattr(instance, field.name))
            except (ValueError, TypeError) as error:
                found += _complaints(error, (field.name,), cls)
    return found


def keyed(instance: Any) -> dict[str, Any]:
    """Return the parameters that belong in an action key, as canonical JSON values.

    Left out are defaults (so that a new option leaves old keys alone), settings, and files (their digests stand for
    them).
    """
    return {
        field.name: _plain(getattr(instance, field.name))
        for field in attrs.fields(type(instance))
        if UNKEYED not in field.metadata
        and not isinstance(getattr(instance, field.name), File | Files)
        and getattr(instance, field.name) != _default(field)
    }


def spec(instance: Any) -> dict[str, Any]:
    """Return all parameters as JSON values from which `structure` makes the same instance on another machine."""
    return {
        field.name: _plain(getattr(instance, field.name))
        for field in attrs.fields(type(instance))
        if getattr(instance, field.name) != _default(field)
    }


def files_of(instance: Any) -> dict[str, Files]:
    """Return the files that the step reads from outside the store, by parameter.

    A class may name more, found otherwise than by a parameter, from a method ``files``.
    """
    found: dict[str, Files] = {}
    for field in attrs.fields(type(instance)):
        value = getattr(instance, field.name)
        if isinstance(value, File):
            # a lone file is known by its bytes: its name may change
            found[field.name] = Files(value.name, (attrs.evolve(value, name="file"),))
        elif isinstance(value, Files):
            found[field.name] = value
    extra = getattr(instance, "files", None)
    if callable(extra):
        more = extra()
        found["files()"] = more if isinstance(more, Files) else Files("files()", tuple(more))
    return found


def describe(cls: type) -> list[tuple[str, str, str, bool]]:
    """Return name, type, default (empty if required) and whether it is keyed, for each parameter of *cls*."""
    hints = types_of(cls)
    return [
        (
            field.name,
            _type_name(hints.get(field.name, Any)),
            "" if _default(field) is attrs.NOTHING else _shown(_default(field)),
            UNKEYED not in field.metadata,
        )
        for field in attrs.fields(cls)
    ]


def types_of(cls: type) -> dict[str, Any]:
    """Return the types of the parameters of *cls*, and tell attrs, which cattrs asks.

    attrs' own way reads every annotation of the class, also those it adds for cached properties, whose types may be
    known to a type checker alone.
    """
    if getattr(cls, "__attrs_types_resolved__", None) is not cls:
        found: dict[str, Any] = {}
        names = attrs.fields_dict(cls).keys()
        for base in reversed(cls.__mro__):
            own = {n: a for n, a in inspect.get_annotations(base).items() if n in names}
            try:
                found |= get_type_hints(SimpleNamespace(__annotations__=own), vars(sys.modules[base.__module__]))
            except NameError as error:
                raise PluginError(
                    f"the types of the parameters of `{cls.__name__}` can't be read: {error}",
                    hint="import what they name outside of `if TYPE_CHECKING`",
                ) from error
        for field in attrs.fields(cls):
            if field.name in found:
                object.__setattr__(field, "type", found[field.name])
                _resolve_nested(found[field.name])
        cls.__attrs_types_resolved__ = cls  # type: ignore[attr-defined]
    return {field.name: field.type for field in attrs.fields(cls)}


def _resolve_nested(wanted: Any) -> None:
    if isinstance(wanted, type) and attrs.has(wanted):
        types_of(wanted)
    for argument in get_args(wanted):
        _resolve_nested(argument)


def _shown(value: Any) -> str:
    import json

    plain = _plain(value)
    if plain is None:
        return "none"
    text = json.dumps(plain, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"  # noqa: PLR2004  # a table's column


def _default(field: attrs.Attribute[Any]) -> Any:
    if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        factory: Any = field.default
        return attrs.NOTHING if factory.takes_self else factory.factory()
    return field.default


def _plain(value: Any) -> Any:
    """Return *value* as JSON values."""
    if isinstance(value, File):
        return {"file": [value.name, str(value.path)]}
    if isinstance(value, Files):
        return {"files": [[f.name, str(f.path)] for f in value], "pattern": value.pattern}
    if attrs.has(type(value)):
        return {f.name: _plain(getattr(value, f.name)) for f in attrs.fields(type(value))}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str):
        return [_plain(v) for v in (sorted(value) if isinstance(value, set | frozenset) else value)]
    return value


def _converter(root: Path) -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)

    def primitive(wanted: type) -> Any:
        def hook(value: Any, _: Any) -> Any:
            fits = isinstance(value, wanted) or (wanted is float and isinstance(value, int))
            if not fits or (isinstance(value, bool) and wanted is not bool):
                raise TypeError(f"must be {_WORDS[wanted]}, got `{_toml(value)}`")
            return wanted(value)

        return hook

    for wanted in _WORDS:
        converter.register_structure_hook(wanted, primitive(wanted))
    converter.register_structure_hook(File, lambda value, _: _file(value, root))
    converter.register_structure_hook(Files, lambda value, _: _files(value, root))
    converter.register_structure_hook_func(_is_literal, _literal)
    converter.register_structure_hook_factory(_is_union, lambda t: _union(t, converter))
    converter.register_structure_hook_factory(_is_sequence, lambda t: _sequence(t, converter))
    converter.register_structure_hook_factory(_is_table, lambda t: _table(t, converter))
    return converter


def _is_table(wanted: Any) -> bool:
    return (attrs.has(wanted) and wanted not in (File, Files)) or get_origin(wanted) in (dict, Mapping)


def _table(wanted: Any, converter: cattrs.Converter) -> Any:
    """Structure a nested class or a table of values; cattrs' own way does not name a value that is neither."""
    inner = make_dict_structure_fn(wanted, converter, _cattrs_forbid_extra_keys=True) if attrs.has(wanted) else None

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"must be a table, got `{_toml(value)}`")
        if inner is not None:
            return inner(value, wanted)
        return dict(zip(map(str, value), _each(value.items(), get_args(wanted)[1], converter, wanted), strict=True))

    return hook


def _each(entries: Iterable[tuple[Any, Any]], element: Any, converter: cattrs.Converter, wanted: Any) -> list[Any]:
    """Structure every entry, or raise all their errors, each noting its key."""
    done, errors = [], []
    for key, entry in entries:
        try:
            done.append(converter.structure(entry, element))
        except (ValueError, TypeError, IterableValidationError, ClassValidationError) as error:
            error.add_note(AttributeValidationNote("", str(key), element))
            errors.append(error)
    if errors:
        raise ClassValidationError("while structuring entries", errors, wanted)
    return done


def _is_literal(wanted: Any) -> bool:
    return get_origin(wanted) is Literal


def _is_sequence(wanted: Any) -> bool:
    return get_origin(wanted) in (tuple, list) or wanted in (tuple, list)


def _literal(value: Any, wanted: Any) -> Any:
    choices = get_args(wanted)
    if any(value == choice and type(value) is type(choice) for choice in choices):
        return value
    raise ValueError(f"must be one of {', '.join(f'`{_toml(c)}`' for c in choices)}, got `{_toml(value)}`")


def _is_union(wanted: Any) -> bool:
    return get_origin(wanted) in (Union, types.UnionType)


def _union(wanted: Any, converter: cattrs.Converter) -> Any:
    def hook(value: Any, _: Any) -> Any:
        if value is None and type(None) in get_args(wanted):
            return None
        problems = []
        for choice in get_args(wanted):
            if choice is type(None):
                continue
            try:
                return converter.structure(value, choice)
            except (ValueError, TypeError, IterableValidationError, ClassValidationError) as error:
                problems.append(error)
        if len(problems) == 1:
            raise problems[0]
        raise TypeError(f"must be {_type_name(wanted)}, got `{_toml(value)}`")

    return hook


def _sequence(wanted: Any, converter: cattrs.Converter) -> Any:
    arguments = [a for a in get_args(wanted) if a is not Ellipsis]
    kind = get_origin(wanted) or wanted

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise TypeError(f"must be a list, got `{_toml(value)}`")
        return kind(_each(enumerate(value), arguments[0] if arguments else Any, converter, wanted))

    return hook


def _file(value: Any, root: Path) -> File:
    if isinstance(value, Mapping) and set(value) == {"file"}:
        return File(value["file"][0], Path(value["file"][1]))
    if not isinstance(value, str):
        raise TypeError(f"must be the path of a file, got `{_toml(value)}`")
    path = root / value
    if not path.is_file():
        raise ValueError(f"there is no file `{value}` below `{root}`")
    return File(path.name, path)


def _files(value: Any, root: Path) -> Files:
    if isinstance(value, Mapping) and set(value) == {"files", "pattern"}:
        return Files(value["pattern"], tuple(File(name, Path(path)) for name, path in value["files"]))
    if not isinstance(value, str):
        raise TypeError(f"must be a path or a glob, got `{_toml(value)}`")
    files = Files.match(value, root)
    if not files:
        raise ValueError(f"no file matches `{value}` below `{root}`")
    return files


def _toml(value: Any) -> str:
    """Show a value as a manifest would write it."""
    import json

    return (
        str(value)
        if value is not None and not isinstance(value, str | bool | list | dict)
        else json.dumps(value, ensure_ascii=False, default=str)
    )


_NAMES = {File: "file", Files: "files", str: "string", int: "integer", float: "number", bool: "boolean"}


def _type_name(wanted: Any) -> str:
    """Name a parameter's type in the words of TOML."""
    arguments, origin = get_args(wanted), get_origin(wanted)
    if _is_literal(wanted):
        return " | ".join(_toml(choice) for choice in arguments)
    if _is_union(wanted):
        return " | ".join("none" if choice is type(None) else _type_name(choice) for choice in arguments)
    if arguments and origin in (tuple, list):
        return f"list of {_type_name(arguments[0])}"
    if arguments and origin in (dict, Mapping):
        return f"table of {_type_name(arguments[1])}"
    return _NAMES.get(wanted, getattr(wanted, "__name__", str(wanted)))


def _complaints(error: BaseException, path: tuple[str, ...], cls: Any) -> list[Complaint]:
    """Flatten cattrs' groups into one complaint a value."""
    if isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in attrs.fields(error.cl)] if error.cl and attrs.has(error.cl) else []
        return [
            Complaint((*path, key), f"there is no parameter `{key}`", did_you_mean(key, known))
            for key in sorted(error.extra_fields)
        ]
    if isinstance(error, ClassValidationError | IterableValidationError):
        found: list[Complaint] = []
        for inner in error.exceptions:
            key = _note_key(inner)
            found += _complaints(inner, (*path, key) if key else path, cls)
        return found
    if isinstance(error, KeyError):
        return [Complaint(path, f"the parameter `{error.args[0]}` is missing")]
    name = ".".join(path)
    text = str(error.args[0]) if error.args else repr(error)
    if text.startswith(("must be", "there is no file", "no file matches")):
        return [Complaint(path, f"`{name}` {text}" if text.startswith("must") else f"`{name}`: {text}")]
    return [Complaint(path, _validator_words(text, name))]


def _validator_words(text: str, name: str) -> str:
    """Put attrs' validator messages (``'least' must be >= 0: -1``) into forge's form."""
    words = re.sub(r" \(got (.*)\)$", r", got \1", text.replace("'", "`"))
    head, colon, value = words.rpartition(": ")
    if colon and " must be " in head:
        return f"{head}, got `{value}`"
    return words if not name or f"`{name.rpartition('.')[2]}`" in words else f"`{name}`: {words}"


def _note_key(error: BaseException) -> str | None:
    for note in getattr(error, "__notes__", ()):
        name = getattr(note, "name", None)
        if name is not None:
            return str(name)
        if hasattr(note, "index"):
            return str(note.index)
    return None
