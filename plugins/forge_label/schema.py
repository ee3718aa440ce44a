"""A JSON Schema as forge reads it: exact keys, integers that are integers, ranges as enumerations."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Literal

import attrs

import forge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_WIDEST = 1_000  # a range of more integers stays a range: an enumeration that long only fills the request
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_UNSENT = ("$schema", "$id", "$comment")


@attrs.frozen
class Label:
    """Describe one label in a manifest's own table: an integer range, or the values that there are."""

    type: Literal["integer", "number", "string", "boolean"] | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    enum: tuple[str | int, ...] = ()
    description: str = ""

    def __attrs_post_init__(self) -> None:
        """Want enough to tell a good value from a bad one."""
        if self.type is None and not self.enum and self.minimum is None and self.maximum is None:
            raise ValueError("a label needs `enum`, `minimum` and `maximum`, or a `type`")

    def schema(self) -> dict[str, Any]:
        """Return the label as JSON Schema."""
        kind = self.type or ("string" if any(isinstance(value, str) for value in self.enum) else "integer")
        found: dict[str, Any] = {"type": kind}
        bounds = {"minimum": self.minimum, "maximum": self.maximum}
        found |= {name: bound for name, bound in bounds.items() if bound is not None}
        if self.enum:
            found["enum"] = list(self.enum)
        return found | ({"description": self.description} if self.description else {})


@attrs.frozen
class Schema:
    """Hold the schema of a reply: ``exact`` to judge by, ``sent`` as a provider's grammar needs it."""

    exact: Mapping[str, Any]
    sent: Mapping[str, Any]
    _validator: Any = attrs.field(eq=False, repr=False)

    @classmethod
    def read(cls, given: forge.File | Mapping[str, Label]) -> Schema:
        """Read a file or a table and make every object in it exact: all its properties, and no others."""
        from jsonschema.exceptions import SchemaError

        raw, name = raw_schema(given)
        exact = _exact(raw)
        validator = _strict()
        try:
            validator.check_schema(exact)
        except SchemaError as error:
            raise forge.StepError(f"`{name}` is not a JSON Schema: {error.message}") from error
        _check_satisfiable(raw, name)
        return cls(exact, _enumerated(exact), _offline(validator, exact))

    @property
    def names(self) -> list[str]:
        """Return the labels, in the schema's order."""
        return list(self.exact["properties"])

    def check(self, values: object) -> None:
        """Raise `forge.Refused` for the first thing in *values* that the schema does not allow."""
        error = min(self._errors(values), key=lambda e: (list(map(str, e.absolute_path)), e.validator), default=None)
        if error is None:
            return
        where = ".".join(str(part) for part in error.absolute_path)
        message = error.message if len(error.message) <= 200 else error.message[:200] + "…"  # noqa: PLR2004
        raise forge.Refused(f"`{where}`: {message}" if where else message)

    def _errors(self, values: object) -> Iterable[Any]:
        errors: Iterable[Any] = self._validator.iter_errors(values)
        return errors


def raw_schema(given: forge.File | Mapping[str, Label]) -> tuple[dict[str, Any], str]:
    """Return the JSON Schema of a file or a table as it stands, and the name that it goes by."""
    if not isinstance(given, forge.File):
        return {"type": "object", "properties": {name: label.schema() for name, label in given.items()}}, "schema"
    if given.path.suffix == ".py":
        from forge_label.classes import schema_of_file

        return schema_of_file(given), given.name
    try:
        raw = json.loads(given.read_bytes())
    except (ValueError, OSError) as error:
        raise forge.StepError(f"can't read the schema `{given.name}`: {error}") from error
    if not isinstance(raw, dict) or raw.get("type") != "object" or not raw.get("properties"):
        raise forge.StepError(
            f"the schema `{given.name}` does not describe an object with properties",
            hint='it begins `{"type": "object", "properties": {…}}`, a property for each label',
        )
    return raw, given.name


def _check_satisfiable(raw: Mapping[str, Any], name: str) -> None:
    """Refuse a schema that no reply can fit: each row would be paid for in vain."""
    unknown = [each for each in raw.get("required", ()) if each not in raw["properties"]]
    if unknown:
        raise forge.StepError(f"`{name}` requires `{unknown[0]}`, which is none of its properties")
    for label, form in raw["properties"].items():
        least, most = (form.get("minimum"), form.get("maximum")) if isinstance(form, dict) else (None, None)
        if least is not None and most is not None and least > most:
            raise forge.StepError(f"`{name}`: `{label}` is to be at least {least} and at most {most}")


def _exact(node: Any) -> Any:
    """Ask for all properties of every object and allow no others."""
    if isinstance(node, list):
        return [_exact(item) for item in node]
    if not isinstance(node, dict):
        return node
    done = {key: _exact(value) for key, value in node.items()}
    if isinstance(done.get("properties"), dict) and done.get("type") == "object":
        done["required"] = list(done["properties"])
        done["additionalProperties"] = False
    return done


def _enumerated(node: Any) -> Any:
    """Write integer ranges as enumerations: grammars made from a schema often ignore its bounds."""
    if isinstance(node, list):
        return [_enumerated(item) for item in node]
    if not isinstance(node, dict):
        return node
    done = {key: _enumerated(value) for key, value in node.items() if key not in _UNSENT}
    if node.get("type") == "integer" and "enum" not in node and (values := _range(node)):
        done = {key: value for key, value in done.items() if key not in _BOUNDS}
        done["enum"] = values
    return done


def _range(node: Mapping[str, Any]) -> list[int]:
    least = [math.ceil(node[key]) for key in ("minimum",) if key in node]
    least += [math.floor(node[key]) + 1 for key in ("exclusiveMinimum",) if key in node]
    most = [math.floor(node[key]) for key in ("maximum",) if key in node]
    most += [math.ceil(node[key]) - 1 for key in ("exclusiveMaximum",) if key in node]
    if not least or not most or not 0 <= min(most) - max(least) < _WIDEST:
        return []
    step = node.get("multipleOf", 1)
    return [value for value in range(max(least), min(most) + 1) if value % step == 0]


def _strict() -> Any:
    """Return a validator for which `2.0` and `true` are no integers and equal no listed ones."""
    from jsonschema import Draft202012Validator, validators
    from jsonschema.exceptions import ValidationError

    def enum(_validator: Any, listed: Any, value: Any, _schema: Any) -> Iterable[ValidationError]:
        if not any(_same(value, item) for item in listed):
            yield ValidationError(f"{value!r} is not one of {listed!r}")

    def const(_validator: Any, wanted: Any, value: Any, _schema: Any) -> Iterable[ValidationError]:
        if not _same(value, wanted):
            yield ValidationError(f"{value!r} is not {wanted!r}")

    checker = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _checker, value: type(value) is int)
    extend: Any = validators.extend
    return extend(Draft202012Validator, {"enum": enum, "const": const}, type_checker=checker)


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


def _offline(validator: Any, schema: Mapping[str, Any]) -> Any:
    """Bind *schema*; an empty registry keeps a `$ref` from being fetched."""
    from referencing import Registry

    return validator(schema, registry=Registry())
