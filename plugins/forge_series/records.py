"""Read records that ask about a picture of a series, in the two shapes in which such sets are kept."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import min_len

import forge

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

_ROLES = {"system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}
_BLANK = re.compile(r"[\s,]*")
_NEXT_OBJECT = re.compile(r"[,\n\[]\s*(?=\{)")
_EXCERPT = 80  # characters


class _Broken(Exception):
    """Carry a short fixed reason why a record can't be used."""


@attrs.frozen
class Records:
    """Read ``image`` + ``conversations`` or ``messages`` + ``images`` records: a question, and its answer, on pictures.

    Files are JSON lists, JSON lines, or objects one after another; a file is decoded by the first of *encodings* that
    fits. The pictures themselves are never opened. A record has one question and one answer, and may have a system
    text; any other is rejected by its reason, and so is a piece that is not JSON.
    """

    path: forge.Files
    encodings: tuple[str, ...] = attrs.field(default=("utf-8-sig", "gb18030"), validator=min_len(1))
    most_rejects: float = forge.most_rejects()

    def read(self, run: forge.Run) -> Iterator[pl.DataFrame | forge.Reject]:
        """Yield one table ``file, index, images, system, prompt, answer`` a file, after the file's rejects."""
        import polars as pl

        schema: dict[str, Any] = {
            "file": pl.String,
            "index": pl.UInt32,
            "images": pl.List(pl.String),
            "system": pl.String,
            "prompt": pl.String,
            "answer": pl.String,
        }
        for done, file in enumerate(self.path, start=1):
            rows: list[dict[str, Any]] = []
            text = _decoded(file, self.encodings)
            for index, (record, written) in enumerate(_objects(text), start=1):
                try:
                    rows.append({"file": file.name, "index": index, **_row(record)})
                except _Broken as broken:
                    excerpt = " ".join(written[: 4 * _EXCERPT].split())[:_EXCERPT]
                    yield forge.Reject(file.name, str(broken), index, excerpt)
            yield pl.DataFrame(rows, schema=schema)
            run.progress(done, len(self.path))


def _decoded(file: forge.File, encodings: tuple[str, ...]) -> str:
    data = file.read_bytes()
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    tried = ", ".join(f"`{encoding}`" for encoding in encodings)
    raise forge.StepError(f"`{file.name}` is not text in {tried}", hint="name its encoding in `encodings`")


def _objects(text: str) -> Iterator[tuple[Any, str]]:
    """Yield what *text* holds, each with the text that it was read from; None stands for a piece that is no JSON."""
    decoder = json.JSONDecoder()
    place = _skip(text, 0)
    if listed := text.startswith("[", place):
        place = _skip(text, place + 1)
    while place < len(text):
        if listed and text[place] == "]":
            return
        try:
            record, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            record, end = None, _next_record(text, place, decoder)
        yield record, text[place:end]
        place = _skip(text, end)


def _next_record(text: str, place: int, decoder: json.JSONDecoder) -> int:
    """Return where the next readable record starts, or the end of *text*; a turn of the broken one is no record."""
    for match in _NEXT_OBJECT.finditer(text, place + 1):
        try:
            record, _ = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and ("conversations" in record or "messages" in record):
            return match.end()
    return len(text)


def _skip(text: str, place: int) -> int:
    match = _BLANK.match(text, place)
    return match.end() if match else place


def _row(record: Any) -> dict[str, Any]:
    if record is None:
        raise _Broken("broken JSON")
    if not isinstance(record, dict):
        raise _Broken("record is not an object")
    images = record.get("images", record.get("image"))
    images = [images] if isinstance(images, str) else images
    if not images or not isinstance(images, list) or not all(isinstance(image, str) and image for image in images):
        raise _Broken("no image")
    turns = record.get("conversations", record.get("messages"))
    if not isinstance(turns, list):
        raise _Broken("no conversation")
    said = [_turn(turn) for turn in turns]
    system = "\n".join(text for role, text in said if role == "system")
    rest = [(role, text) for role, text in said if role != "system"]
    if [role for role, _ in rest] != ["user", "assistant"]:
        raise _Broken("not one question with one answer")
    (_, prompt), (_, answer) = rest
    if not prompt.strip() or not answer.strip():
        raise _Broken("empty question or answer")
    return {"images": images, "system": system, "prompt": prompt, "answer": answer}


def _turn(turn: Any) -> tuple[str, str]:
    if not isinstance(turn, dict):
        raise _Broken("a turn is not an object")
    role, text = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
    if role not in _ROLES:
        raise _Broken("a turn of an unknown role")
    if not isinstance(text, str):
        raise _Broken("a turn's text is not a text")
    return _ROLES[role], text
