"""Say what is wrong with a manifest's values, in the words of TOML."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

import attrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from forge.core.files import File, Files
from forge.core.suggest import did_you_mean


@attrs.frozen
class Complaint:
    """Say what is wrong with one value: the path of keys to it, the message, and a hint."""

    path: tuple[str, ...]
    message: str
    hint: str | None = None


def is_literal(wanted: Any) -> bool:
    """Say whether a type is `Literal[…]`."""
    return get_origin(wanted) is Literal


def is_sequence(wanted: Any) -> bool:
    """Say whether a type is a list or a tuple."""
    return get_origin(wanted) in (tuple, list) or wanted in (tuple, list)


def is_union(wanted: Any) -> bool:
    """Say whether a type is a union."""
    return get_origin(wanted) in (Union, types.UnionType)


def is_table(wanted: Any) -> bool:
    """Say whether a type is a mapping."""
    return (attrs.has(wanted) and wanted not in (File, Files)) or get_origin(wanted) in (dict, Mapping)


def toml_text(value: Any) -> str:
    """Show a value as a manifest would write it."""
    return (
        str(value)
        if value is not None and not isinstance(value, str | bool | list | dict)
        else json.dumps(value, ensure_ascii=False, default=str)
    )


_NAMES = {File: "file", Files: "files", str: "string", int: "integer", float: "number", bool: "boolean"}


def type_name(wanted: Any) -> str:
    """Name a parameter's type in the words of TOML."""
    arguments, origin = get_args(wanted), get_origin(wanted)
    if is_literal(wanted):
        return " | ".join(toml_text(choice) for choice in arguments)
    if is_union(wanted):
        return " | ".join("none" if choice is type(None) else type_name(choice) for choice in arguments)
    if arguments and origin in (tuple, list):
        return f"list of {type_name(arguments[0])}"
    if arguments and origin in (dict, Mapping):
        return f"table of {type_name(arguments[1])}"
    return _NAMES.get(wanted, getattr(wanted, "__name__", str(wanted)))


def complaints(error: BaseException, path: tuple[str, ...], cls: Any) -> list[Complaint]:
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
            found += complaints(inner, (*path, key) if key else path, cls)
        return found
    if isinstance(error, KeyError):
        return [Complaint(path, f"the parameter `{error.args[0]}` is missing")]
    name = ".".join(path)
    text = str(error.args[0]) if error.args else repr(error)
    if text.startswith(("must be", "there is no file", "no file matches")):
        return [Complaint(path, f"`{name}` {text}" if text.startswith("must") else f"`{name}`: {text}")]
    return [Complaint(path, _validator_words(text, name), getattr(error, "hint", None))]


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
