"""Rows in the shapes that LLaMA-Factory reads, each looked at before it is written."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import forge

if TYPE_CHECKING:
    from collections.abc import Mapping

MARK = "<ts><ts/>"
_PAIR = ("instruction", "output")
_TURNS = {"conversation": "text", "messages": "content"}


class Unusable(Exception):
    """Say what is wrong with one sample."""


def wanted(form: str, schema: Mapping[str, Any]) -> list[str]:
    """Return the columns of the table that *form* is made of, or say which one is missing or of a wrong type."""
    import polars as pl

    texts: tuple[str, ...] = {"chatts": ("input", "output"), "alpaca": _PAIR, "sharegpt": _PAIR}[form]
    turns = next((name for name in _TURNS if name in schema), None) if form == "sharegpt" else None
    needed = [turns] if turns else list(texts)
    optional = [] if form == "chatts" else ["system"] if turns else ["input", "system"]
    if form == "chatts":
        needed.append("timeseries")
    for name in needed:
        if name not in schema:
            raise forge.StepError(
                f"form `{form}` needs a column `{name}`, the table has {', '.join(f'`{n}`' for n in schema)}",
                hint="`series.chatts` makes the columns of `chatts`, a step like `counselling.instructions` those of "
                "`alpaca`",
            )
    kinds: dict[str, Any] = dict.fromkeys((*texts, *optional), pl.String)
    kinds["timeseries"] = pl.List(pl.List(pl.Float64))
    found = [*needed, *(name for name in optional if name in schema)]
    for name in found:
        if name in kinds and schema[name] != kinds[name]:
            raise forge.StepError(f"column `{name}` holds {schema[name]} where form `{form}` needs {kinds[name]}")
    return found


def shaped(form: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one row as its sample."""
    if form == "chatts":
        return _chatts(row)
    if form == "alpaca":
        _filled(row, _PAIR)
        given = {name: row.get(name) or "" for name in ("instruction", "input", "output")}
        return given | ({"system": row["system"] or ""} if "system" in row else {})
    return {"conversations": [{"from": role, "value": text} for role, text in _turns(row)]}


def _filled(row: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if not (row[name] or "").strip():
            raise Unusable(f"`{name}` is empty")


def _chatts(row: Mapping[str, Any]) -> dict[str, Any]:
    _filled(row, ("input", "output"))
    series = row["timeseries"]
    if not series or not all(series):
        raise Unusable("`timeseries` holds no points")
    if not all(value is not None and math.isfinite(value) for values in series for value in values):
        raise Unusable("`timeseries` holds a number that is not finite")
    marks = row["input"].count(MARK)
    if marks != len(series):
        raise Unusable(f"{marks} `{MARK}` in `input` for {len(series)} series")
    if "<ts>" in row["output"] or row["input"].count("<ts>") != marks:
        raise Unusable("a `<ts>` that stands for no series")
    return {name: row[name] for name in ("input", "output", "timeseries")}


def _turns(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return who said what: ``human`` and ``gpt`` by turns, at most one ``system`` before them."""
    system = row.get("system") or ""
    names = {"user": "human", "human": "human", "assistant": "gpt", "gpt": "gpt", "system": "system"}
    column = next((name for name in _TURNS if name in row), None)
    if column is None:
        _filled(row, _PAIR)
        question = "\n".join(text for text in (row["instruction"], row.get("input")) if text)
        said = [("human", question), ("gpt", row["output"])]
    else:
        said = [(names.get(turn["role"], ""), turn[_TURNS[column]] or "") for turn in row[column] or ()]
    if said and said[0][0] == "system":
        system, said = system or said[0][1], said[1:]
    if not said or [role for role, _ in said] != ["human", "gpt"] * (len(said) // 2):
        raise Unusable("turns do not alternate from a question to an answer")
    if not all(text.strip() for _, text in said):
        raise Unusable("a turn is empty")
    return [("system", system), *said] if system else said
