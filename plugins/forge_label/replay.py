"""Labels out of earlier replies: files that another script, another tool or another year left."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import min_len, optional

import forge
from forge_label.found import Found
from forge_label.replies import read_object

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen(kw_only=True)
class Replay(Found):
    """Label rows from files of earlier replies, by the rows' names; nothing is asked.

    ``files`` are JSON lines (``results/input_part_*.jsonl``); ``key`` is the field that holds a row's name, as the
    column ``id`` of the rows holds it. ``reply`` is the path of the field with the model's text
    (``response.body.choices.0.message.content`` in an output file of OpenAI's batches); without it the labels are
    fields of the record itself. A later line takes the place of an earlier one with the same name.
    Replies are judged by ``schema`` like a provider's. A row without one is ``skipped``.
    ``source`` says in `label_source` where the replies came from.
    """

    files: forge.Files
    id: str = "id"
    key: str = "id"
    reply: str | None = attrs.field(default=None, validator=optional(min_len(1)))
    source: str = "replay"

    def request(self, row: Mapping[str, Any]) -> forge.Request:
        """Look the row's name up; refuse a row without a reply."""
        if self.id not in row:
            raise forge.StepError(
                f"the rows have no column `{self.id}`", hint=f"they have {', '.join(f'`{name}`' for name in row)}"
            )
        name = str(row[self.id])
        if name not in self._replies:
            raise forge.Refused(f"no earlier reply to `{name}`{self._unread}")
        return forge.Request({"model": self.source, "row": name}, [])

    async def ask(self, request: forge.Request) -> forge.Reply:
        """Return the earlier reply."""
        return forge.Reply(self._replies[request.identity["row"]], self.source)

    def parse(self, reply: forge.Reply) -> Mapping[str, Any]:
        """Return the labels that *reply* holds, or refuse it."""
        values = read_object(reply.text)
        if self.reply is None:
            values = {name: value for name, value in values.items() if name in self._schema.names}
        self._schema.check(values)
        return {name: values[name] for name in self._schema.names}

    @property
    def _replies(self) -> Mapping[str, str]:
        return self._read[0]

    @property
    def _unread(self) -> str:
        unread = self._read[1]
        return f" ({len(unread):,} lines can't be read, the first: {unread[0]})" if unread else ""

    @functools.cached_property
    def _read(self) -> tuple[dict[str, str], list[str]]:
        """Return the replies by the names of their rows, and the lines that hold none."""
        found: dict[str, str] = {}
        unread: list[str] = []
        for file in self.files:
            for number, line in enumerate(file.read_bytes().splitlines(), start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                    text = line.decode() if self.reply is None else _at(record, self.reply)
                    found[str(record[self.key])] = text
                except (ValueError, LookupError, TypeError):
                    unread.append(f"`{file.name}`, line {number}")
        if not found:
            raise forge.StepError(
                f"no line of the {len(self.files)} files `{self.files.pattern}` holds `{self.key}` and a reply",
                hint="`key` names the field with a row's name, `reply` the path of the field with the model's text",
            )
        return found, unread


def _at(record: Any, path: str) -> str:
    """Return the text at *path*, a field's name or its names and places, joined by dots."""
    for part in path.split("."):
        record = record[int(part)] if isinstance(record, list) else record[part]
    return record if isinstance(record, str) else json.dumps(record, ensure_ascii=False)
