"""Read the one JSON object out of a model's reply, or refuse it."""

from __future__ import annotations

import json
import re
from typing import Any

import forge

_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


def read_text(text: str, *, finish: str = "") -> str:
    """Return a reply that is meant to be read by a model again: without its thoughts, refused if empty or cut off."""
    text = _THOUGHT.sub("", text).strip()
    if not text:
        raise forge.Refused("the reply is empty")
    if finish == "length":
        raise forge.Refused("the reply was cut off at `max_tokens`")
    if not _encodable(text):
        raise forge.Refused("the reply holds half of a surrogate pair")
    return text


def read_object(text: str, *, finish: str = "") -> dict[str, Any]:
    """Return the JSON object that *text* is, or the only one in it.

    A fence or chat around it is put aside. Anything that could be read in two ways is refused: another brace
    outside of the object, a key given twice, a number that JSON does not have, an array around it.
    """
    text = _THOUGHT.sub("", text).strip()
    if not text:
        raise forge.Refused("the reply is empty")
    start = text.find("{")
    if start < 0:
        raise forge.Refused("the reply holds no JSON object")
    if text[0] in "[\"'" or text[:start].rstrip().endswith(("[", ",")):
        raise forge.Refused("the reply is not a JSON object but something around one")
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
    try:
        found, end = decoder.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        cut = " (it was cut off at `max_tokens`)" if finish == "length" else ""
        raise forge.Refused(f"the reply's JSON can't be read: {reason}{cut}") from None
    if "}" in text[:start] or "{" in text[end:] or "}" in text[end:]:
        raise forge.Refused("the reply holds more than one JSON object")
    if not _encodable(found):
        raise forge.Refused("the reply holds half of a surrogate pair")
    read: dict[str, Any] = found
    return read


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise forge.Refused(f"the key `{key}` is given twice")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise forge.Refused(f"`{name}` is not a JSON number")


def _encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
