"""Bring dialogues of any shape to one: ``id, source, topic, system, conversation``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import deep_mapping, in_, instance_of, min_len

import forge
from forge_text.roles import UNKNOWN_LABEL, is_letter, label_pattern, roles_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl

    Turn = tuple[str, str]
    Told = tuple[str, list[Turn], int, int]

EMPTY = "empty turn"
UNLABELLED = "text before the first label"
STRANGE = "line that begins like a label nobody knows, now part of a turn"
_ENDINGS = (".json", ".jsonl", ".csv", ".txt", ".parquet")
_TWO = 2
_MADE = ("id", "source", "topic", "system", "conversation")


def _not_made(_instance: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for name in value:
        if name in _MADE:
            message = f"`{attribute.name}` names `{name}`, which the step makes itself: rename the column before it"
            raise ValueError(message)


@attrs.frozen(kw_only=True)
class Dialogue:
    """Make ``id, source, topic, system, conversation[role, text]`` of dialogues.

    *form* says how they are told. ``turns``: *column* is a list of objects with the fields *role* and *text*.
    ``pairs``: a list of objects with the fields *user*, *assistant* and perhaps *system*. ``history``: the columns
    *instruction*, *input* and *output* are the last pair, *column* is the list of the pairs before it.
    ``lines``: a list of texts, each with a label (``来访者：``). ``text``: one text with labels at the starts of lines,
    *inline* behind any blank too. Roles are known by many names, *roles* adds others; *labels* are those that count in
    texts. A row with a role that nobody knows is dropped, or only its *unknown* turns are; in texts a line that begins
    like a label that nobody knows belongs to the turn before it, and is counted. Turns of one role in a row are joined,
    or with ``repeated = "drop"`` their row is dropped.
    A row whose dialogue another one begins with is dropped: sets that tell a dialogue pair by pair hold it many times.
    *system* may be a column too. ``id`` is *source* and the values of the columns *id*; the columns *keep* are kept.
    """

    form: Literal["turns", "pairs", "history", "lines", "text"]
    source: str = attrs.field(validator=min_len(1))
    column: str = "conversation"
    role: str = "role"
    text: str = "content"
    user: str = "input"
    assistant: str = "output"
    system: str = "system"
    instruction: str = "instruction"
    input: str = "input"
    output: str = "output"
    id: tuple[str, ...] = ()
    topic: str | None = None
    keep: tuple[str, ...] = attrs.field(default=(), validator=_not_made)
    roles: dict[str, str] = attrs.field(
        factory=dict, validator=deep_mapping(instance_of(str), in_(("user", "assistant", "system")))
    )
    labels: tuple[str, ...] = ()
    inline: bool = False
    unknown: Literal["row", "turn"] = "row"
    repeated: Literal["join", "drop"] = "join"
    contained: Literal["drop", "keep"] = "drop"

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Read the dialogues and mark rows that have none."""
        import polars as pl

        self._check(rows.collect_schema())
        table = rows.collect()
        pattern = label_pattern((*self.labels, *(self.roles if self.labels else ())), inline=self.inline)
        told = [self._told(row, number, pattern) for number, row in enumerate(table.iter_rows(named=True), start=1)]
        turn = pl.Struct({"role": pl.String, "text": pl.String})
        schema: dict[str, Any] = {
            "id": pl.String,
            "source": pl.String,
            "topic": pl.String,
            "system": pl.String,
            "conversation": pl.List(turn),
            "__problem__": pl.String,
            "__empty__": pl.Int64,
            "__before__": pl.Int64,
            "__strange__": pl.Int64,
        }
        made = pl.DataFrame(told, schema=schema, orient="row")
        made = made.with_columns(table[name] for name in self.keep)
        if self.contained == "drop":
            made = made.with_columns(_contained(made).alias("__contained__"))
        else:
            made = made.with_columns(pl.lit(value=False).alias("__contained__"))
        reasons = {
            reason: pl.col("__problem__") == reason
            for reason in made["__problem__"].drop_nulls().unique(maintain_order=True)
        }
        reasons["told whole by another row"] = pl.col("__contained__")
        counts = {EMPTY: "__empty__", UNLABELLED: "__before__", STRANGE: "__strange__"}
        counted = forge.tally(made.lazy(), {reason: pl.col(name) for reason, name in counts.items()})
        return forge.drop(counted, reasons).drop("__problem__", *counts.values(), "__contained__")

    def _check(self, schema: pl.Schema) -> None:
        wanted = [self.column] if self.form != "history" else [self.instruction, self.output, self.column]
        for name in (*wanted, *self.id, *self.keep, *((self.topic,) if self.topic else ())):
            if name not in schema:
                raise forge.StepError(
                    f"there is no column `{name}`",
                    hint=f"the table has {', '.join(f'`{column}`' for column in schema.names())}",
                )

        self._check_fields(schema[self.column])

    def _check_fields(self, kind: pl.DataType) -> None:
        """Refuse a field that the objects of no row have."""
        import polars as pl

        wanted = {"turns": ("role", "text"), "pairs": ("user", "assistant")}.get(self.form, ())
        if not isinstance(kind, pl.List) or not isinstance(kind.inner, pl.Struct):
            return  # rows without objects are dropped by that reason
        there = [field.name for field in kind.inner.fields]
        for parameter in wanted:
            if (name := getattr(self, parameter)) not in there:
                listed = ", ".join(f"`{field}`" for field in there)
                raise forge.StepError(
                    f"no object in `{self.column}` has the field `{name}`, which `{parameter}` names",
                    hint=f"they have {listed}; {' and '.join(f'`{each}`' for each in wanted)} say which are meant",
                )

    def _told(self, row: Mapping[str, Any], number: int, pattern: Any) -> tuple[Any, ...]:
        place = [_piece(row[name]) for name in self.id] or [str(number)]
        head = ("_".join([self.source, *place]), self.source, _text(row[self.topic]) if self.topic else "")
        try:
            system, turns, before, strange = self._turns(row, pattern)
        except (TypeError, AttributeError, ValueError):
            form = f"`{self.column}` is not of the form `{self.form}`"
            return (*head, None, _as_it_came(row[self.column]), form, 0, 0, 0)
        labels = roles_of([label for label, _ in turns], self.roles)
        said: list[dict[str, str]] = []
        problem, empty = None, 0
        for role, (_, words) in zip(labels, turns, strict=True):
            text = words.strip()
            if role is None:
                problem = problem or ("unknown role" if self.unknown == "row" else None)
            elif not text:
                empty += 1
            elif role == "system":
                system = f"{system}\n{text}" if system else text
            elif said and said[-1]["role"] == role:
                problem = problem or ("a role twice in a row" if self.repeated == "drop" else None)
                said[-1]["text"] += "\n" + text
            else:
                said.append({"role": role, "text": text})
        if len(said) < _TWO:
            nothing = "no labelled turn" if _holds_something(row[self.column]) else "no text"
            problem = problem or ("under two turns" if said else nothing)
        return (*head, system or None, said or _as_it_came(row[self.column]), problem, empty, before, strange)

    def _turns(self, row: Mapping[str, Any], pattern: Any) -> Told:
        """Return a row's system prompt and its turns by label.

        Behind them stands how often text is before the first label, and how many lines begin like an unknown one.
        """
        told = row[self.column]
        own = row.get(self.system)
        system = own if isinstance(own, str) else ""
        if self.form == "turns":
            return system, [(_text(turn[self.role]), _text(turn[self.text])) for turn in told or ()], 0, 0
        if self.form == "pairs":
            systems = [system, *(_text(pair.get(self.system)) for pair in told or ())]
            pairs = [(_text(pair[self.user]), _text(pair[self.assistant])) for pair in told or ()]
            return "\n".join(dict.fromkeys(filter(None, systems))), list(_alternating(pairs)), 0, 0
        if self.form == "history":
            asked = "\n".join(filter(None, (_text(row[self.instruction]), _text(row.get(self.input)))))
            pairs = [(_text(first), _text(second)) for first, second in told or ()]
            return system, list(_alternating([*pairs, (asked, _text(row[self.output]))])), 0, 0
        text = "\n".join(_text(line) for line in told or ()) if self.form == "lines" else _text(told)
        return system, *_labelled(text.replace("\r\n", "\n").replace("\r", "\n"), pattern)


def _labelled(text: str, pattern: Any) -> tuple[list[Turn], int, int]:
    found = list(pattern.finditer(text))
    named = [match for match in found if not is_letter(match[1])]
    found = named or found  # beside names a letter is the first of a list: `A：`
    if not found:
        return [], 0, 0
    ends = [match.start() for match in found[1:]] + [len(text)]
    turns = [(match[1], text[match.end() : end]) for match, end in zip(found, ends, strict=True)]
    strange = sum(len(re.findall(UNKNOWN_LABEL, f"-{words}", re.MULTILINE)) for _, words in turns)
    return turns, int(bool(text[: found[0].start()].strip())), strange


def _alternating(pairs: list[tuple[str, str]]) -> Iterator[Turn]:
    for asked, answered in pairs:
        yield "user", asked
        yield "assistant", answered


def _as_it_came(value: Any) -> list[dict[str, str]]:
    """Return what stands in place of the turns of a row that is dropped, for the ledger's examples."""
    return [{"role": "unread", "text": "" if value is None else str(value)}]


def _holds_something(value: Any) -> bool:
    return bool(value.strip() if isinstance(value, str) else value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | dict):
        raise TypeError
    return str(value)


def _piece(value: Any) -> str:
    text = _text(value)
    return next((text.removesuffix(ending) for ending in _ENDINGS if text.endswith(ending)), text)


def _contained(table: pl.DataFrame) -> pl.Series:
    """Say of each row whether another row's conversation begins with all of its own and goes on."""
    import polars as pl

    turn = pl.element().struct
    key = pl.col("conversation").list.eval(
        pl.concat_str(turn.field("role"), pl.lit("\x1f"), turn.field("text"), pl.lit("\x1e"))
    )
    keys = table.select("system", key.list.join("").alias("key"), pl.col("__problem__").is_null().alias("usable"))
    # Among sorted texts one that begins another is followed by such a one.
    order = keys.filter("usable").unique().sort("system", "key")
    follows = pl.col("key").shift(-1).str.starts_with(pl.col("key")) & (
        pl.col("system").eq_missing(pl.col("system").shift(-1))
    )
    begun = order.with_columns(follows.fill_null(value=False).alias("contained"))
    joined = keys.join(begun, on=["system", "key", "usable"], how="left", nulls_equal=True, maintain_order="left")
    return joined["contained"].fill_null(value=False)
