"""Turn a manifest's values into a step type's class and back, strictly.

``"false"`` is not True, ``1.9`` is not 1, ``1`` is ``1.0`` where a float is wanted, and a name that the class does
not have is a problem with a "did you mean".
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import attrs
from cattrs.errors import (
    ClassValidationError,
)

from forge.core.errors import ForgeError, PluginError
from forge.core.fence import Fence
from forge.core.files import File, Files
from forge.plugin.complaints import Complaint, complaints, type_name
from forge.plugin.converter import strict_converter
from forge.plugin.registry import UNKEYED


def structure(
    cls: type, values: Mapping[str, Any], root: Path, fence: Fence | None = None
) -> tuple[Any, list[Complaint]]:
    """Return an instance of *cls* made of *values*, or None and all complaints; files are looked up below *root*.

    With a *fence* the values come out of a manifest, and none of their paths may lead out of it.
    """
    types_of(cls)
    try:
        return strict_converter(root, fence).structure(dict(values), cls), []
    except ClassValidationError as error:
        return None, _refusals(cls, values, root, fence) or complaints(error, (), cls)
    except (ValueError, TypeError) as error:
        return None, [Complaint((), str(error))]


def _refusals(cls: type, values: Mapping[str, Any], root: Path, fence: Fence | None) -> list[Complaint]:
    """Return what the validators say, each of its own parameter; attrs itself stops at the first and names none."""
    try:
        with attrs.validators.disabled():
            instance: Any = strict_converter(root, fence).structure(dict(values), cls)
    except (ClassValidationError, ForgeError, ValueError, TypeError):
        return []
    found = []
    for field in attrs.fields(cls):
        if field.validator is not None:
            try:
                field.validator(instance, field, getattr(instance, field.name))
            except (ValueError, TypeError) as error:
                found += complaints(error, (field.name,), cls)
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
            type_name(hints.get(field.name, Any)),
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
