"""A schema as an attrs class in a Python file: its fields are the labels, its validators their bounds."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import attrs

import forge

if TYPE_CHECKING:
    from collections.abc import Iterable

_KINDS = {int: "integer", float: "number", str: "string", bool: "boolean"}
_BOUNDS = {">=": "minimum", "<=": "maximum", ">": "exclusiveMinimum", "<": "exclusiveMaximum"}


def schema_of_file(file: forge.File) -> dict[str, Any]:
    """Return the JSON Schema of the one attrs class that the Python file *file* defines."""
    name = f"forge_label_schema_{file.path.stem}"
    spec = importlib.util.spec_from_file_location(name, file.path)
    if spec is None or spec.loader is None:
        raise forge.StepError(f"`{file.name}` can't be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # attrs and the annotations look their module up
    try:
        spec.loader.exec_module(module)
        classes = [value for value in vars(module).values() if _is_own(value, name)]
        if len(classes) != 1:
            raise forge.StepError(f"`{file.name}` must define one attrs class, it defines {len(classes)}")
        return schema_of(classes[0])
    except (ImportError, SyntaxError, NameError) as error:
        raise forge.StepError(f"can't read the schema `{file.name}`: {error}") from error
    finally:
        del sys.modules[name]


def schema_of(cls: type) -> dict[str, Any]:
    """Return the JSON Schema of an attrs class: `int`, `float`, `str`, `bool` or `Literal` fields, and their bounds."""
    types = get_type_hints(cls)
    return {
        "type": "object",
        "title": cls.__name__,
        "properties": {field.name: _property(cls, field, types[field.name]) for field in attrs.fields(cls)},
    }


def _property(cls: type, field: attrs.Attribute[Any], wanted: Any) -> dict[str, Any]:
    if get_origin(wanted) is Literal:
        values = list(get_args(wanted))
        found: dict[str, Any] = {"type": _KINDS[type(values[0])], "enum": values}
    elif wanted in _KINDS:
        found = {"type": _KINDS[wanted]}
    else:
        raise forge.StepError(
            f"`{cls.__name__}.{field.name}` can't be put into a schema: `{wanted}`",
            hint="a label is an int, float, str, bool or a Literal of these",
        )
    for validator in _parts(field.validator):
        bound, operator = getattr(validator, "bound", None), getattr(validator, "compare_op", None)
        if operator in _BOUNDS:
            found[_BOUNDS[operator]] = bound
        elif hasattr(validator, "options"):
            found["enum"] = list(validator.options)
        else:
            raise forge.StepError(
                f"the validator of `{cls.__name__}.{field.name}` can't be put into a schema: `{validator!r}`",
                hint="`ge`, `gt`, `le`, `lt` and `in_` can",
            )
    if "description" in field.metadata:
        found["description"] = str(field.metadata["description"])
    return found


def _parts(validator: Any) -> Iterable[Any]:
    if validator is None:
        return ()
    parts: tuple[Any, ...] | None = getattr(validator, "_validators", None)
    return (validator,) if parts is None else tuple(part for one in parts for part in _parts(one))


def _is_own(value: Any, module: str) -> bool:
    return isinstance(value, type) and attrs.has(value) and value.__module__ == module
