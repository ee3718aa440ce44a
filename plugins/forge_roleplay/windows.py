"""Turn scenes into dialogues of several turns: the others are the user, the character answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import ge, min_len, optional

from forge_roleplay.persona import Persona, joined, need

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

_IN_WINDOW = "told in a window"
_BETWEEN = "between two windows"
_NO_REPLY = "the character doesn't answer"
_NO_CUE = "nobody speaks before the character"


@attrs.define
class _Exchange:
    """Gather what the others say and what the character answers, with the places of the lines."""

    asked: list[str] = attrs.Factory(list)
    answered: list[str] = attrs.Factory(list)
    places: list[int] = attrs.Factory(list)


@attrs.frozen(kw_only=True)
class Windows(Persona):
    """Make ``id, source, kind, passage, system, conversation`` of scenes: windows of *length* exchanges.

    Rows with one value in the columns *passage* (a chapter's file) are a scene, in their order in the table or by the
    columns *order*; no window crosses its end. An exchange is what others say and what the character answers, lines
    in a row joined by line ends; with *names* the others' words have their names before them.
    A window begins every *stride* exchanges (by default *length*: none overlap), the last one ends with the scene.
    Where the character speaks without being spoken to, *cue* is what the user says; without one, such words at a
    scene's beginning leave, and later ones join the words before them.
    """

    passage: tuple[str, ...] = attrs.field(validator=min_len(1))
    source: str = attrs.field(validator=min_len(1))
    order: tuple[str, ...] = ()
    length: int = attrs.field(default=3, validator=ge(1))
    stride: int | None = attrs.field(default=None, validator=optional(ge(1)))
    least: int = attrs.field(default=1, validator=ge(1))
    cue: str = ""
    names: bool = False
    kind: str = attrs.field(default="window", validator=min_len(1))

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Cut the scenes; every line that begins no window is counted with what became of it."""
        import polars as pl

        need(rows, ["speaker", "text", *self.passage, *self.order])
        table = rows.collect()
        if self.order:
            table = table.sort(self.order, maintain_order=True, nulls_last=True)
        table = table.select(
            joined(self.passage).alias("__passage__"),
            pl.col("speaker").cast(pl.String).fill_null("").str.strip_chars().alias("__speaker__"),
            pl.col("text").cast(pl.String).fill_null("").str.strip_chars().alias("__text__"),
        )
        made: list[dict[str, Any]] = []
        for (passage,), scene in table.group_by("__passage__", maintain_order=True):
            made += self._scene(str(passage), scene.select("__speaker__", "__text__").rows())
        schema: dict[str, Any] = {
            "id": pl.String,
            "source": pl.String,
            "kind": pl.String,
            "passage": pl.String,
            "system": pl.String,
            "conversation": pl.List(pl.Struct({"role": pl.String, "text": pl.String})),
            "__dropped__": pl.String,
        }
        return pl.DataFrame(made, schema=schema).lazy()

    def _scene(self, passage: str, lines: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        """Yield the windows of a scene, and a marked row for each line that begins none."""
        exchanges, fates = self._exchanges(lines)
        begins: dict[int, list[_Exchange]] = {}
        for start in self._starts(len(exchanges)):
            window = exchanges[start : start + self.length]
            begins[window[0].places[0]] = window
            fates |= {place: _IN_WINDOW for exchange in window for place in exchange.places}
        for place, (_, text) in enumerate(lines):
            row: dict[str, Any] = {
                "id": f"{self.source}_{passage}_{place + 1}",
                "source": self.source,
                "kind": self.kind,
                "passage": passage,
                "system": self.prompt(),
            }
            if place in begins:
                yield row | {"conversation": list(_turns(begins[place])), "__dropped__": None}
            else:
                said = [{"role": "user", "text": text}]
                yield row | {"conversation": said, "__dropped__": fates.get(place, _BETWEEN)}

    def _exchanges(self, lines: Sequence[tuple[str, str]]) -> tuple[list[_Exchange], dict[int, str]]:
        """Return a scene's exchanges, and why lines are in none of them."""
        own = {self.character, *self.aliases}
        exchanges: list[_Exchange] = []
        fates: dict[int, str] = {}
        open_: _Exchange | None = None
        for place, (speaker, text) in enumerate(lines):
            if not text:
                fates[place] = "no words"
            elif speaker not in own:
                open_ = open_ or _Exchange()
                open_.asked.append(f"{speaker}：{text}" if self.names and speaker else text)
                open_.places.append(place)
            elif open_ is not None:
                open_.answered.append(text)
                open_.places.append(place)
                exchanges.append(open_)
                open_ = None
            elif self.cue:
                exchanges.append(_Exchange([self.cue], [text], [place]))
            elif exchanges:
                exchanges[-1].answered.append(text)
                exchanges[-1].places.append(place)
            else:
                fates[place] = _NO_CUE
        if open_ is not None:
            fates |= dict.fromkeys(open_.places, _NO_REPLY)
        if len(exchanges) < self.least:
            fates |= {place: f"a scene of under {self.least} exchanges" for each in exchanges for place in each.places}
            return [], fates
        return exchanges, fates

    def _starts(self, count: int) -> list[int]:
        """Return where windows begin among *count* exchanges, the last so that it ends with them."""
        if not count:
            return []
        last = max(0, count - self.length)
        return sorted({*range(0, last + 1, self.stride or self.length), last})


def _turns(window: Sequence[_Exchange]) -> Iterator[Mapping[str, str]]:
    for exchange in window:
        yield {"role": "user", "text": "\n".join(exchange.asked)}
        yield {"role": "assistant", "text": "\n".join(exchange.answered)}
