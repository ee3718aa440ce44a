"""Labels that people give: a sheet for annotators, and the way back."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections import defaultdict
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import attrs
from blake3 import blake3

import forge
from forge_label.found import Found
from forge_label.prompts import conversation_text
from forge_label.schema import Label, Schema
from forge_label.votes import decided

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_ROW = "row"  # the column that knows a row's text again
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


@attrs.frozen(kw_only=True)
class Sheet:
    """Write a sheet for annotators: a CSV that any spreadsheet opens, a row for each row, empty cells for the labels.

    The heads of these cells say which values are allowed, as ``schema`` has them. ``shown`` are further columns that
    annotators see, such as labels that a model gave. `forge get` takes the sheet out; the filled ones are read
    by `label.human`.
    """

    schema: forge.File | dict[str, Label]
    column: str = "conversation"
    id: str = "id"
    shown: tuple[str, ...] = ()

    def export(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> None:
        """Write ``sheet.csv``."""
        rows = inputs["data"].rows().collect()
        missing = [name for name in (self.id, self.column, *self.shown) if name not in rows.columns]
        if missing:
            raise forge.StepError(
                f"the rows have no column `{missing[0]}`",
                hint=f"they have {', '.join(f'`{name}`' for name in rows.columns)}",
            )
        properties = Schema.read(self.schema).sent["properties"]
        with (out / "sheet.csv").open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([_ROW, self.id, "text", *self.shown, *(_head(*item) for item in properties.items())])
            for row in rows.iter_rows(named=True):
                text = conversation_text(row[self.column])
                shown = [_cell(row[name]) for name in self.shown]
                writer.writerow([_digest(text), _cell(row[self.id]), _cell(text), *shown, *([""] * len(properties))])
        run.log(f"{rows.height:,} rows wait for people")


@attrs.frozen(kw_only=True)
class Human(Found):
    """Label rows by the sheets that annotators filled in (`label.sheet` writes them).

    ``sheets`` are the filled sheets, a file for each annotator; where several labelled a row the majority of each
    label counts, of equals the graver value, and `label_votes` holds what each said. A row that nobody labelled
    is ``skipped``, as is one whose text changed since; a value that the schema does not allow makes it ``refused``.
    """

    sheets: forge.Files
    column: str = "conversation"
    id: str = "id"

    def request(self, row: Mapping[str, Any]) -> forge.Request:
        """Look the row up in the sheets; refuse one that nobody labelled."""
        for name in (self.id, self.column):
            if name not in row:
                raise forge.StepError(f"the rows have no column `{name}`")
        name, text = str(row[self.id]), conversation_text(row[self.column])
        if name not in self._cells:
            raise forge.Refused("nobody has labelled it yet")
        digest = _digest(text)
        if digest not in self._cells[name]:
            raise forge.Refused("its text changed since it was labelled")
        return forge.Request({"model": "human", "row": name, "text": digest}, [])

    async def ask(self, request: forge.Request) -> forge.Reply:
        """Return what the annotators wrote."""
        said = self._cells[request.identity["row"]][request.identity["text"]]
        return forge.Reply(json.dumps(said, ensure_ascii=False), "human")

    def parse(self, reply: forge.Reply) -> Mapping[str, Any]:
        """Return the labels, or refuse a value that the schema does not allow."""
        votes = []
        for annotator, cells in json.loads(reply.text).items():
            values = {name: _value(cells[name], schema) for name, schema in self._properties.items()}
            try:
                self._schema.check(values)
            except forge.Refused as refusal:
                raise forge.Refused(f"`{annotator}`: {refusal.message}") from None
            votes.append(values)
        return votes[0] if len(self.sheets) == 1 else decided(votes, self._properties)

    @property
    def _properties(self) -> Mapping[str, Any]:
        properties: Mapping[str, Any] = self._schema.exact["properties"]
        return properties

    @functools.cached_property
    def _cells(self) -> dict[str, dict[str, dict[str, dict[str, str]]]]:
        """Return what each annotator wrote, by a row's name and its text's digest."""
        found: dict[str, dict[str, dict[str, dict[str, str]]]] = defaultdict(lambda: defaultdict(dict))
        for file in self.sheets:
            reader = csv.reader(io.StringIO(_text(file), newline=""))
            heads = [head.partition(" (")[0].strip() for head in next(reader, [])]
            missing = [name for name in (_ROW, self.id, *self._properties) if name not in heads]
            if missing:
                raise forge.StepError(
                    f"the sheet `{file.name}` has no column `{missing[0]}`",
                    hint="`label.sheet` writes it; keep its columns when you fill it in",
                )
            for line in reader:
                cells = dict(zip(heads, line, strict=False))
                said = {name: cells.get(name, "").strip() for name in self._properties}
                if any(said.values()):
                    found[cells[self.id].removeprefix("'")][cells[_ROW]][PurePath(file.name).stem] = said
        return found


def _digest(text: str) -> str:
    return "t" + blake3(text.encode("utf-8", "surrogatepass")).hexdigest()[:15]


def _head(name: str, schema: Mapping[str, Any]) -> str:
    allowed = schema.get("enum")
    return f"{name} ({'|'.join(map(str, allowed))})" if allowed else name


def _cell(value: Any) -> str:
    """Return a cell as text that no spreadsheet takes for a formula."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    """Return what a cell means by the schema's type; what it can't mean stays text, for the schema to refuse."""
    kind = schema.get("type")
    if kind in {"integer", "number"}:
        try:
            number = float(text)
        except ValueError:
            return text
        return int(number) if number.is_integer() else number
    return text.lower() == "true" if kind == "boolean" and text.lower() in {"true", "false"} else text


def _text(file: forge.File) -> str:
    """Return a sheet's text; spreadsheet programs save UTF-8, or GB18030 on a Chinese system."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return file.read_text(encoding)
        except UnicodeDecodeError:
            continue
    raise forge.StepError(f"the sheet `{file.name}` is neither UTF-8 nor GB18030", hint="save it as CSV in UTF-8")
