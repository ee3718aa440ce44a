"""What a reply must be: a flat JSON object by a JSON Schema, as a test and as a grammar."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from forge import StepError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forge import File

WIDEST = 1000
"""So many values of an integer range become alternatives of a grammar, and no more."""

_EXCERPT = 60

_OBJECT = {"type", "properties", "required", "additionalProperties", "title", "description", "$schema", "$id"}
_FIELD = {
    "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength",
    "title", "description", "default", "examples",
}  # fmt: skip
_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
}
_ANY_TEXT = r'"\"" ( [^"\\\x7F\x00-\x1F] | "\\" ( ["\\bfnrt] | "u" [0-9a-fA-F]{4} ) ){%s} "\""'


@attrs.frozen
class Label:
    """Describe one key of the reply: its type, and its values where they are few."""

    name: str
    kind: str
    choices: tuple[Any, ...] | None = None
    least: float | None = None
    most: float | None = None
    shortest: int = 0
    longest: int | None = None

    @property
    def few(self) -> bool:
        """Say whether the values can be told one by one: a class each."""
        return self.choices is not None or self.kind == "boolean"

    def holds(self, value: Any) -> bool:
        """Say whether *value* has the type and lies in the range; True is no 1, and 1.0 no 1."""
        if isinstance(value, bool) is not (self.kind == "boolean") or not isinstance(value, _TYPES[self.kind]):
            return False
        known: Any = value
        if self.choices is not None:
            return known in self.choices
        if self.kind == "string":
            return len(known) >= self.shortest and (self.longest is None or len(known) <= self.longest)
        return (self.least is None or known >= self.least) and (self.most is None or known <= self.most)

    def rule(self) -> str:
        """Return the grammar of the value; an integer range is an enumeration, for a range would let 12 by for 0..3."""
        if self.choices is not None:
            return " | ".join(_literal(json.dumps(value, ensure_ascii=False)) for value in self.choices)
        if self.kind == "boolean":
            return '"true" | "false"'
        if self.kind == "string":
            return _ANY_TEXT % f"{self.shortest},{'' if self.longest is None else self.longest}"
        if self.least is not None or self.most is not None:
            raise StepError(
                f"the range of `{self.name}` can't be held by a grammar",
                hint=f"give an integer both a minimum and a maximum at most {WIDEST} apart, or set `grammar = false`",
            )
        return '"-"? ( "0" | [1-9] [0-9]{0,15} )' + ("" if self.kind == "integer" else ' ( "." [0-9]{1,15} )?')


@attrs.frozen
class Labels:
    """Describe a reply: labels in their order, and which of them must be there."""

    fields: tuple[Label, ...]
    required: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the keys in the schema's order."""
        return tuple(field.name for field in self.fields)

    def keys_exact(self, reply: Mapping[str, Any]) -> bool:
        """Say whether the reply has every required key and none that the schema does not name."""
        return self.required <= reply.keys() <= set(self.names)

    def in_range(self, reply: Mapping[str, Any]) -> bool:
        """Say whether the keys are exact and each value lies in its range."""
        return self.keys_exact(reply) and all(f.holds(reply[f.name]) for f in self.fields if f.name in reply)

    def objection(self, answer: str) -> str:
        """Return the first thing for which an answer is not allowed, or nothing."""
        said = parse_reply(answer)
        if said is None:
            return "is no JSON object"
        for name in self.names:
            if name in self.required and name not in said:
                return f"has no `{name}`"
        for field in self.fields:
            if field.name in said and not field.holds(said[field.name]):
                return f"`{field.name}` = {_excerpt(json.dumps(said[field.name], ensure_ascii=False))}"
        strange = next((name for name in said if name not in self.names), None)
        return "" if strange is None else f"has `{_excerpt(strange)}`, which the schema does not name"

    def grammar(self) -> str:
        """Return the GBNF grammar of a reply: the required keys in order, values in range, single blanks at most."""
        wanted = [field for field in self.fields if field.name in self.required]
        pairs = [f'{_literal(json.dumps(f.name, ensure_ascii=False))} ":" gap value-{i}' for i, f in enumerate(wanted)]
        rules = [f"value-{i} ::= {field.rule()}" for i, field in enumerate(wanted)]
        body = ' "," gap '.join(pairs)
        return "\n".join(['root ::= "{" ' + body + ' "}"', *rules, 'gap ::= " "?']) + "\n"


def read_labels(schema: File) -> Labels:
    """Return the labels that a JSON Schema describes.

    Raises `ValueError` for a schema that says more than is checked here: a keyword that nobody looks at is a lie.
    """
    return labels_of(read_schema(schema), schema.name)


def read_schema(schema: File) -> Any:
    """Return the JSON Schema itself."""
    try:
        return json.loads(schema.read_text())
    except ValueError as error:
        raise ValueError(f"`{schema.name}` is not JSON: {error}") from error


def labels_of(schema: Any, name: str) -> Labels:
    """Return the labels that a JSON Schema describes; *name* is what messages call it."""
    if not isinstance(schema, dict) or schema.get("type") != "object" or not schema.get("properties"):
        raise ValueError(f"`{name}` must be the schema of an object with properties")
    unknown = sorted(schema.keys() - _OBJECT)
    if unknown:
        raise ValueError(f"`{name}` has `{unknown[0]}`, which is not checked")
    properties: dict[str, Any] = schema["properties"]
    required = frozenset(schema.get("required", properties))
    if not required <= properties.keys() or not required:
        raise ValueError(f"`{name}` must require at least one of its properties and nothing else")
    return Labels(tuple(_label(key, value, name) for key, value in properties.items()), required)


def _label(key: str, schema: Mapping[str, Any], name: str) -> Label:
    unknown = sorted(schema.keys() - _FIELD)
    if unknown:
        raise ValueError(f"`{key}` in `{name}` has `{unknown[0]}`, which is not checked")
    choices = tuple(schema["enum"]) if "enum" in schema else (schema["const"],) if "const" in schema else None
    kind = schema.get("type") or _kind_of(choices)
    if kind not in _TYPES:
        raise ValueError(f"`{key}` in `{name}` must be one of {', '.join(_TYPES)}, got `{kind}`")
    least, most = _bounds(schema, kind)
    for low, high, what in ((least, most, "minimum"), (schema.get("minLength"), schema.get("maxLength"), "minLength")):
        if low is not None and high is not None and low > high:
            raise ValueError(f"`{key}` in `{name}` allows no value: its {what} {low} is above {high}, its maximum")
    if choices is None and kind == "integer" and least is not None and most is not None and most - least <= WIDEST:
        choices = tuple(range(int(least), int(most) + 1))
    return Label(key, kind, choices, least, most, schema.get("minLength", 0), schema.get("maxLength"))


def _kind_of(choices: tuple[Any, ...] | None) -> str | None:
    for kind, types in _TYPES.items():
        if choices and all(type(value) in types for value in choices):
            return kind
    return None


def _bounds(schema: Mapping[str, Any], kind: str) -> tuple[float | None, float | None]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if kind != "integer":
        if "exclusiveMinimum" in schema or "exclusiveMaximum" in schema:
            raise ValueError("an open bound is checked for integers alone")
        return least, most
    if "exclusiveMinimum" in schema:
        least = schema["exclusiveMinimum"] + 1
    if "exclusiveMaximum" in schema:
        most = schema["exclusiveMaximum"] - 1
    return least, most


def _excerpt(text: str) -> str:
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"


def _literal(text: str) -> str:
    """Return *text* as a GBNF literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def parse_reply(text: str) -> dict[str, Any] | None:
    """Return a reply's JSON object, or None; white space around it is allowed, nothing else is."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
