"""Turn a character's lines and settings into samples, asked for in the way of their kind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import min_len, optional

import forge
from forge_roleplay.persona import Persona, check_placeholders, joined, need

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import polars as pl

_SEVERAL = "\0several"
_INPUT = "{input}"


def _compiles(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    try:
        re.compile(value)
    except re.error as error:
        message = f"`{attribute.name}` is no regular expression: {error}"
        raise ValueError(message) from None


@attrs.frozen(kw_only=True)
class Kind:
    """Say which inputs are of one kind, and the *instruction* that asks for their texts.

    A kind takes the *inputs* it lists, those that begin with one of *prefixes*, those in which *pattern* is found,
    with *empty* those that are empty or null, and with *others* what no kind takes.
    ``{character}`` and ``{input}`` in the instruction are filled in.
    """

    instruction: str = attrs.field(validator=min_len(1))
    inputs: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    pattern: str | None = attrs.field(default=None, validator=optional(_compiles))
    empty: bool = False
    others: bool = False

    def __attrs_post_init__(self) -> None:
        """Refuse a kind that takes nothing, and an instruction that can't be filled in."""
        asks = bool(self.inputs or self.prefixes or self.pattern or self.others)
        if not asks and not self.empty:
            message = "it takes no input: give `inputs`, `prefixes`, `pattern`, `empty` or `others`"
            raise ValueError(message)
        check_placeholders("instruction", self.instruction, ["character", "input"])
        if self.empty and _INPUT in self.instruction:
            message = "`instruction` holds `{input}`, and with `empty = true` there is none"
            raise ValueError(message)


def _kinds(_instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, Kind]) -> None:
    if not value:
        message = f"`{attribute.name}` must name at least one kind"
        raise ValueError(message)
    of_kind: tuple[tuple[str, Callable[[Kind], tuple[object, ...]]], ...] = (
        ("the input", lambda kind: kind.inputs),
        ("the prefix", lambda kind: kind.prefixes),
        ("empty inputs", lambda kind: ("",) * kind.empty),
        ("all other inputs", lambda kind: ("",) * kind.others),
    )
    for what, entries in of_kind:
        taken: dict[object, str] = {}
        for name, kind in value.items():
            for entry in set(entries(kind)):
                if entry in taken:
                    shown = f" `{entry}`" if entry else ""
                    message = f"the kinds `{taken[entry]}` and `{name}` both take {what}{shown}"
                    raise ValueError(message)
                taken[entry] = name


@attrs.frozen(kw_only=True)
class Instructions(Persona):
    """Make ``id, source, kind, passage, system, conversation`` of a character's lines and settings.

    The text of a row is the answer; what asks for it is the instruction of its kind, and the kind is chosen by the
    column *input*. A listed input comes before a prefix, a longer prefix before a shorter one, and both before a
    pattern, so the order of the kinds means nothing. Rows whose ``speaker`` is somebody else are dropped, and lines
    of which nobody knows who says them: a row without a speaker is the character's only where it has an input, as a
    setting has.
    ``id`` is *source* and the values of the columns *id*, which must tell the rows apart. *passage* names the columns
    that say what a row was told in (a chapter's file), by which a split keeps together what belongs together; without
    it a row stands alone.
    """

    kinds: dict[str, Kind] = attrs.field(validator=_kinds)
    source: str = attrs.field(validator=min_len(1))
    id: tuple[str, ...] = attrs.field(validator=min_len(1))
    passage: tuple[str, ...] = ()
    input: str = "input"
    text: str = "text"

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Choose the kinds and mark rows that no kind takes."""
        import polars as pl

        names = need(rows, [self.text, *self.id, *self.passage])
        asked = pl.col(self.input).cast(pl.String) if self.input in names else pl.lit(None, dtype=pl.String)
        rows = rows.with_columns(asked.fill_null("").str.strip_chars().alias("__input__"))
        inputs = rows.select(pl.col("__input__").unique()).collect()["__input__"].sort().to_list()
        taken = {value: self.kind_of(value) for value in inputs}
        chosen = {value: name for value, name in taken.items() if name is not None}
        kind = pl.col("__input__").replace_strict(chosen, default=None, return_dtype=pl.String)
        speaker = pl.col("speaker").cast(pl.String) if "speaker" in names else pl.lit(self.character)
        text = pl.col(self.text).cast(pl.String).fill_null("").str.strip_chars()
        marked = forge.drop(
            rows.with_columns(kind.alias("kind")),
            {
                "no speaker": self._nobody(speaker),
                "another speaker": ~self.own(speaker),
                "no words": text == "",
                "several kinds take its input": pl.col("kind") == _SEVERAL,
                "no kind takes its input": pl.col("kind").is_null(),
            },
        )
        turns = [
            pl.struct(pl.lit("user").alias("role"), self._question().alias("text")),
            pl.struct(pl.lit("assistant").alias("role"), text.alias("text")),
        ]
        key = pl.concat_str(pl.lit(f"{self.source}_"), joined(self.id))
        made = marked.select(
            key.alias("id"),
            pl.lit(self.source).alias("source"),
            "kind",
            (joined(self.passage) if self.passage else key).alias("passage"),
            pl.lit(self.prompt(), dtype=pl.String).alias("system"),
            pl.concat_list(turns).alias("conversation"),
            "__dropped__",
        ).collect()
        self._check_ids(made.filter(pl.col("__dropped__").is_null())["id"])
        return made.lazy()

    def _check_ids(self, ids: pl.Series) -> None:
        repeated = ids.filter(ids.is_duplicated())
        if len(repeated):
            named = ", ".join(f"`{name}`" for name in self.id)
            raise forge.StepError(
                f"{(ids == repeated[0]).sum()} rows have the id `{repeated[0]}`",
                hint=f"`id` names {named}; add what tells the rows apart, such as the source's `file_column`",
            )

    def kind_of(self, value: str) -> str | None:
        """Return the kind that takes an input; None where no kind does."""
        if not value:
            return self._first(lambda kind: kind.empty)
        listed = self._first(lambda kind: value in kind.inputs)
        if listed is not None:
            return listed
        prefixes = [(len(p), name) for name, kind in self.kinds.items() for p in kind.prefixes if value.startswith(p)]
        if prefixes:
            return max(prefixes)[1]
        found = [name for name, kind in self.kinds.items() if kind.pattern and re.search(kind.pattern, value)]
        if found:
            return found[0] if len(found) == 1 else _SEVERAL
        return self._first(lambda kind: kind.others)

    @staticmethod
    def _nobody(speaker: pl.Expr) -> pl.Expr:
        import polars as pl

        return (speaker.is_null() & (pl.col("__input__") == "")) | (speaker.str.strip_chars() == "")

    def _first(self, takes: Callable[[Kind], bool]) -> str | None:
        return next((name for name, kind in self.kinds.items() if takes(kind)), None)

    def _question(self) -> pl.Expr:
        import polars as pl

        question = pl.lit(None, dtype=pl.String)
        for name, kind in self.kinds.items():
            pieces = kind.instruction.replace("{character}", self.character).split(_INPUT)
            filled: list[pl.Expr] = [pl.lit(pieces[0])]
            for piece in pieces[1:]:
                filled += [pl.col("__input__"), pl.lit(piece)]
            question = pl.when(pl.col("kind") == name).then(pl.concat_str(filled)).otherwise(question)
        return question
