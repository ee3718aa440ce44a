"""Read CPsyCounD and CPsyCounE dialogues as lists of labelled lines."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge_counselling.records import Broken, decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl

_BATCH = 4096  # files


@attrs.frozen
class CPsyCounD:
    """Read CPsyCounD dialogues: one ``.txt`` file each, a labelled turn a line, unlabelled lines carried on.

    Line ends may be CRLF, LF or CR, texts UTF-8, UTF-16 with its mark, or GB18030.
    """

    path: forge.Files
    most_rejects: float = forge.most_rejects()

    def read(self, run: forge.Run) -> Iterator[pl.DataFrame | forge.Reject]:
        """Yield ``id, source, topic, lines`` in batches of files."""
        return _batches(self.path, run, _dialogue_of_text)


@attrs.frozen
class CPsyCounE:
    """Read CPsyCounE dialogues: ``<topic>/<n>.json``, each a JSON list of labelled turns, encoded as CPsyCounD's."""

    path: forge.Files
    most_rejects: float = forge.most_rejects()

    def read(self, run: forge.Run) -> Iterator[pl.DataFrame | forge.Reject]:
        """Yield ``id, source, topic, lines`` in batches of files."""
        return _batches(self.path, run, _dialogue_of_json)


def _batches(
    files: forge.Files, run: forge.Run, read: Callable[[forge.File], dict[str, Any]]
) -> Iterator[pl.DataFrame | forge.Reject]:
    import polars as pl

    schema: dict[str, Any] = {"id": pl.String, "source": pl.String, "topic": pl.String, "lines": pl.List(pl.String)}
    for start in range(0, len(files), _BATCH):
        rows = []
        for file in files[start : start + _BATCH]:
            try:
                rows.append(read(file))
            except Broken as broken:
                yield forge.Reject(file.name, broken.reason, excerpt=broken.excerpt)
        yield pl.DataFrame(rows, schema=schema)
        run.progress(min(start + _BATCH, len(files)), len(files))


def _text(file: forge.File) -> str:
    text = decoded(file.read_bytes())
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Broken("broken characters", text[:320]) from None
    if not text.strip():
        raise Broken("empty file")
    return text


def _dialogue_of_text(file: forge.File) -> dict[str, Any]:
    lines = [line for line in _text(file).replace("\r\n", "\n").replace("\r", "\n").split("\n") if line.strip()]
    return {"id": f"CPsyCounD_{file.name.removesuffix('.txt')}", "source": "CPsyCounD", "topic": "", "lines": lines}


def _dialogue_of_json(file: forge.File) -> dict[str, Any]:
    text = _text(file)
    try:
        lines = json.loads(text)
    except (ValueError, RecursionError):
        raise Broken("broken JSON", text[:320]) from None
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise Broken("not a list of texts", text[:320])
    try:
        "".join(lines).encode()
    except UnicodeEncodeError:
        raise Broken("broken characters", text[:320]) from None
    name = PurePosixPath(file.name)
    folder = str(name.parent) if name.parent.name else ""
    identity = f"CPsyCounE_{folder}_{name.name.removesuffix('.json')}"
    return {"id": identity, "source": "CPsyCounE", "topic": name.parent.name, "lines": lines}
