"""What JSON values become as columns: one type a column, found over all records and the same whatever their order."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, TypeAlias

from forge_files.reading import Broken, is_sound

if TYPE_CHECKING:
    import polars as pl

NULL, BOOLEAN, INTEGER, LONG, NUMBER = "null", "boolean", "integer", "long integer", "number"
TEXT, MIXED = "text", "mixed"
Kind: TypeAlias = "str | list[Any] | dict[str, Any]"
"""A scalar's word, ``[kind]`` for a list of one kind, or ``{name: kind}`` for an object."""

_DEEPEST = 32
_EMPTY = ""  # the field of an object that has none yet
_INTEGERS = range(-(2**63), 2**63)
_EXACT = range(-(2**53), 2**53 + 1)  # what a float holds to the last digit


def examine(value: Any, depth: int = 0, *, texts: bool = True) -> None:
    """Raise Broken for what no column can hold: texts with broken characters, numbers out of range, deep nesting.

    Without *texts* the text that *value* was read from is known to be sound.
    """
    if isinstance(value, str):
        if texts and not is_sound(value):
            raise Broken("broken characters", value)
    elif isinstance(value, int | float):
        _examine_number(value)
    elif value is not None:
        if depth > _DEEPEST:
            raise Broken("nested too deeply")
        if isinstance(value, dict):
            if texts and not all(map(is_sound, value)):
                raise Broken("broken characters", value)
            value = value.values()
        for inner in value:
            if texts or type(inner) is not str:
                examine(inner, depth + 1, texts=texts)


def _examine_number(value: float) -> None:
    try:
        if math.isfinite(value):
            return
    except OverflowError:  # an integer that no float holds
        pass
    raise Broken("number out of range")


def learn(known: Kind, value: Any) -> Kind:
    """Return the kind that holds *value* and all that *known* holds; objects in *known* are changed in place."""
    if value is None:
        return known
    if isinstance(value, dict):
        fields: Kind = {} if known == NULL else known
        return _fields(fields, value) if isinstance(fields, dict) else MIXED
    if isinstance(value, list):
        items: Kind = [NULL] if known == NULL else known
        return _items(items, value) if isinstance(items, list) else MIXED
    return _scalar(known, value)


def _fields(known: dict[str, Any], value: dict[str, Any]) -> Kind:
    for name, inner in value.items():
        before = known.get(name, NULL)
        if before is not TEXT or type(inner) is not str:  # most often it is text again
            known[name] = learn(before, inner)
    return known


def _items(known: list[Any], value: list[Any]) -> Kind:
    for inner in value:
        known[0] = learn(known[0], inner)
    return known


def _scalar(known: Kind, value: Any) -> Kind:
    found = TEXT if isinstance(value, str) else BOOLEAN if isinstance(value, bool) else NUMBER
    if found == NUMBER and isinstance(value, int):
        if value not in _EXACT:  # as a float it would become another: order numbers must stay apart
            return _long(known) if value in _INTEGERS else MIXED
        found = INTEGER
    if known in {NULL, found} if isinstance(known, str) else False:
        return found
    if known == LONG and found == INTEGER:
        return LONG
    return NUMBER if known in (INTEGER, NUMBER) and found in (INTEGER, NUMBER) else MIXED


def _long(known: Kind) -> Kind:
    return LONG if known in (NULL, INTEGER, LONG) else MIXED


def holds(kind: Kind, scalar: str) -> bool:
    """Say whether *scalar* is somewhere in *kind*."""
    if isinstance(kind, dict):
        return any(holds(inner, scalar) for inner in kind.values())
    return holds(kind[0], scalar) if isinstance(kind, list) else kind == scalar


def learn_long(known: Kind, values: pl.Series) -> Kind:
    """Return *known*, in which integers are long where *values*, which are of that kind, hold such ones."""
    import polars as pl

    if isinstance(known, dict) and isinstance(values.dtype, pl.Struct):
        for field in values.dtype.fields:
            if holds(known.get(field.name, NULL), INTEGER):
                known[field.name] = learn_long(known[field.name], values.struct.field(field.name))
    elif isinstance(known, list) and isinstance(values.dtype, pl.List):
        known[0] = learn_long(known[0], values.explode())
    elif known == INTEGER and values.dtype == pl.Int64:
        bounds: list[Any] = [values.min(), values.max()]
        return INTEGER if all(bound is None or bound in _EXACT for bound in bounds) else LONG
    return known


def data_type(kind: Kind, *, last: bool = True) -> Any:
    """Return the Polars type of *kind*; values of several kinds are texts, an object without fields is nothing.

    While *kind* is not the *last* word, such an object is kept apart from null: it may turn out to have fields.
    """
    import polars as pl

    if isinstance(kind, dict):
        fields = {name: data_type(inner, last=last) for name, inner in kind.items()}
        return pl.Struct(fields or {_EMPTY: pl.Null}) if fields or not last else pl.Null()
    if isinstance(kind, list):
        return pl.List(data_type(kind[0], last=last))
    scalars = {NULL: pl.Null, BOOLEAN: pl.Boolean, INTEGER: pl.Int64, LONG: pl.Int64, NUMBER: pl.Float64}
    return scalars.get(kind, pl.String)()


def is_plain(kind: Kind) -> bool:
    """Say whether Polars takes values of *kind* as they are."""
    if isinstance(kind, dict):
        return bool(kind) and all(map(is_plain, kind.values()))
    return is_plain(kind[0]) if isinstance(kind, list) else kind in {TEXT, BOOLEAN, INTEGER, LONG, NULL}


def is_open(kind: Kind) -> bool:
    """Say whether *kind* holds an object of which no field is known."""
    if isinstance(kind, dict):
        return not kind or any(map(is_open, kind.values()))
    return is_open(kind[0]) if isinstance(kind, list) else False


def conform(value: Any, kind: Kind, *, last: bool = True) -> Any:
    """Return *value* as its column holds it; *last* as `data_type` has it."""
    if value is None or kind == NULL:
        return None
    if isinstance(kind, dict):
        found = {name: conform(value.get(name), inner, last=last) for name, inner in kind.items()}
        return found if found or not last else None
    if isinstance(kind, list):
        return [conform(inner, kind[0], last=last) for inner in value]
    if kind == NUMBER:
        return float(value)
    if kind == MIXED and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return value
