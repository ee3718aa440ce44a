"""Weak labels from a list of words: the default that needs no account, no key and no network."""

from __future__ import annotations

import functools
import re
import tomllib
from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge_label.schema import Label, raw_schema
from forge_label.statistics import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import polars as pl

LABELS = ("depression_level", "anxiety_level", "risk_flag", "student_distress_score")
FLAGS = ("suicidal", "self_harm", "violence")
_VALUES: Mapping[str, Iterable[Any]] = {
    "depression_level": range(4),
    "anxiety_level": range(4),
    "risk_flag": ("none", *FLAGS),
    "student_distress_score": range(10),
}
_CONTEXT = ("negations", "fillers", "joints", "neutral", "speakers", "hypotheses")
_HIGHEST = 3  # of the weight that a flag adds, so that the score stays in 0..9
_GONE = "□"  # stands where something was taken out, so that its sides do not grow together


@attrs.frozen
class Words:
    """Hold a lexicon: terms by level, terms by flag, the flags' weights, and the words of denial."""

    depression: Mapping[int, tuple[str, ...]]
    anxiety: Mapping[int, tuple[str, ...]]
    risk: Mapping[str, tuple[str, ...]]
    distress: Mapping[str, int]
    context: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, text: str, name: str) -> Words:
        """Read a lexicon from TOML, as `lexicons/student_zh.toml` shows it."""
        try:
            raw = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise forge.StepError(f"the lexicon `{name}` is not TOML: {error}") from error
        _exactly(raw, ("depression", "anxiety", "risk", "distress", "context"), name, "")
        for level in ("depression", "anxiety"):
            _exactly(raw[level], ("1", "2", "3"), name, level)
        _exactly(raw["risk"], FLAGS, name, "risk")
        _exactly(raw["distress"], ("none", *FLAGS), name, "distress")
        _exactly(raw["context"], _CONTEXT, name, "context")
        for flag, weight in raw["distress"].items():
            if type(weight) is not int or not 0 <= weight <= _HIGHEST:
                raise forge.StepError(f"`distress.{flag}` in `{name}` must be an integer 0..{_HIGHEST}, got `{weight}`")
        return cls(
            {int(level): _terms(terms, name, f"depression.{level}") for level, terms in raw["depression"].items()},
            {int(level): _terms(terms, name, f"anxiety.{level}") for level, terms in raw["anxiety"].items()},
            {flag: _terms(raw["risk"][flag], name, f"risk.{flag}") for flag in FLAGS},
            raw["distress"],
            {key: _terms(raw["context"][key], name, f"context.{key}") for key in _CONTEXT},
        )

    def everything(self) -> set[str]:
        """Return every term that labels something."""
        groups = (*self.depression.values(), *self.anxiety.values(), *self.risk.values())
        return {term for group in groups for term in group}


@attrs.frozen
class Lexicon:
    """Label rows weakly, by words in what the user says; for trying the pipeline, no assessment of anybody.

    It counts words and understands nothing: irony, stories and most denials pass it by. Labels that matter come from
    `label.openai` and people. Every row says so in `label_source`, and `label_evidence` lists the terms that made
    its labels.

    A level is the highest one of which a term stands in the text, risk the first flag with one, and
    ``student_distress_score`` the sum of both levels and the flag's weight (0 to 3), so all values are in range.
    Denied terms (没有自杀的想法), others' quoted words and titles do not count; an imagined clause (如果…) counts
    for risk alone.
    ``column`` is a list of ``{role, text}``, of which the turns of the role `user` are read, or plain text.
    ``lexicon`` is a TOML file in the form of the packaged `forge_label/lexicons/student_zh.toml`.
    ``schema`` says, as for the labelers that ask, which labels are wanted and what they may be; ``prompt`` is theirs
    alone and passed over, so that one may stand for another.
    """

    column: str = "conversation"
    lexicon: forge.File | None = None
    schema: forge.File | dict[str, Label] | None = None
    prompt: str | None = forge.setting(None)

    def label(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Add the four labels, their state, source and evidence."""
        import polars as pl

        wanted = self._wanted()
        words = self._words
        rows = rows.with_columns(_said(rows, self.column).alias(_RISK))
        rows = rows.with_columns(_cleared(pl.col(_RISK), words).alias(_RISK))
        rows = rows.with_columns(_without_imagined(pl.col(_RISK), words).alias(_LEVEL))
        depression, anxiety = _level(words.depression), _level(words.anxiety)
        flag = _flag(words.risk)
        weight = flag.replace_strict(list(words.distress), list(words.distress.values()), return_dtype=pl.Int64)
        levels = [term for level in (words.depression, words.anxiety) for terms in level.values() for term in terms]
        risks = [term for terms in words.risk.values() for term in terms]
        found = [pl.col(_RISK).str.extract_all(_any(risks)), pl.col(_LEVEL).str.extract_all(_any(levels))]
        labels = dict(zip(LABELS, (depression, anxiety, flag, depression + anxiety + weight), strict=True))
        return rows.with_columns(
            *(labels[name].alias(name) for name in wanted),
            pl.lit("labelled").alias("label_state"),
            pl.lit("lexicon (weak)").alias("label_source"),
            pl.concat_list(found).list.unique(maintain_order=True).alias("label_evidence"),
        ).drop(_RISK, _LEVEL)

    def statistics(self, rows: pl.LazyFrame) -> Mapping[str, Any]:
        """Count states and labels, and say that they are weak."""
        return {"source": "lexicon (weak): for trying the pipeline, no assessment of anybody", **describe(rows, LABELS)}

    def _wanted(self) -> list[str]:
        """Return the labels of the schema; refuse one that the lexicon has not, or that may not be what it gives."""
        if self.schema is None:
            return list(LABELS)
        properties = raw_schema(self.schema)[0].get("properties", {})
        for name, allowed in properties.items():
            if name not in _VALUES:
                raise forge.StepError(
                    f"the lexicon has no label `{name}`", hint=f"it gives {', '.join(f'`{label}`' for label in LABELS)}"
                )
            beyond = [value for value in _VALUES[name] if not _allows(allowed, value)]
            if beyond:
                raise forge.StepError(f"the lexicon may give `{name}` the value `{beyond[0]}`, the schema forbids it")
        return list(properties)

    @functools.cached_property
    def _words(self) -> Words:
        if self.lexicon is not None:
            return Words.read(self.lexicon.read_text(), self.lexicon.name)
        from importlib.resources import files

        name = "lexicons/student_zh.toml"
        return Words.read(files("forge_label").joinpath(name).read_text(encoding="utf-8"), name)


_RISK = "__said_for_risk__"
_LEVEL = "__said_for_levels__"


def _said(rows: pl.LazyFrame, column: str) -> pl.Expr:
    """Return the text of the user's turns."""
    import polars as pl

    schema = rows.collect_schema()
    if column not in schema:
        raise forge.StepError(
            f"the rows have no column `{column}`", hint=f"they have {', '.join(f'`{name}`' for name in schema)}"
        )
    if schema[column] == pl.String:
        return pl.col(column).fill_null("")
    kind = schema[column]
    inner = kind.inner if isinstance(kind, pl.List) else None
    if not isinstance(inner, pl.Struct) or not {"role", "text"} <= {field.name for field in inner.fields}:
        raise forge.StepError(f"the column `{column}` must be text or a list of {{role, text}}, got `{kind}`")
    turn = pl.element()
    mine = turn.filter(turn.struct.field("role") == "user").struct.field("text")
    return pl.col(column).list.eval(mine).list.join("\n", ignore_nulls=True).fill_null("")


def _cleared(text: pl.Expr, words: Words) -> pl.Expr:
    """Take out what is not said of oneself: titles, others' quoted words, look-alikes, denied terms."""
    context = words.context
    quoted = f"(?:{_any(context['speakers'])})[^，。！？\\n“「]{{0,6}}[“「][^”」\\n]{{0,200}}[”」]"
    term = f"(?:{_any(words.everything())})"
    filler = f"(?:{_any(context['fillers'])}){{0,3}}"
    joint = f"(?:{_any(context['joints'])})"
    denied = f"(?:{_any(context['negations'])}){filler}{term}(?:{joint}{filler}{term})*"
    for pattern in ("《[^》\\n]{0,100}》", quoted, _any(context["neutral"]), denied):
        text = text.str.replace_all(pattern, _GONE)
    return text


def _without_imagined(text: pl.Expr, words: Words) -> pl.Expr:
    return text.str.replace_all(f"(?:{_any(words.context['hypotheses'])})[^，。！？；,.!?;\\n]*", _GONE)


def _level(terms: Mapping[int, tuple[str, ...]]) -> pl.Expr:
    import polars as pl

    levels = [
        pl.when(pl.col(_LEVEL).str.contains(_any(terms[level]))).then(pl.lit(level, pl.Int64))
        for level in sorted(terms, reverse=True)
    ]
    return pl.coalesce(*levels, pl.lit(0, pl.Int64))


def _flag(terms: Mapping[str, tuple[str, ...]]) -> pl.Expr:
    import polars as pl

    flags = [pl.when(pl.col(_RISK).str.contains(_any(terms[flag]))).then(pl.lit(flag)) for flag in FLAGS]
    return pl.coalesce(*flags, pl.lit("none"))


def _allows(schema: Mapping[str, Any], value: Any) -> bool:
    if "enum" in schema:
        return value in schema["enum"]
    return isinstance(value, str) or schema.get("minimum", 0) <= value <= schema.get("maximum", value)


def _any(words: Iterable[str]) -> str:
    """Return a pattern for any of *words*, the longest first; of no words, one that never matches."""
    longest = sorted(set(words), key=lambda word: (-len(word), word))
    return "|".join(re.escape(word) for word in longest) or r"[^\s\S]"


def _exactly(table: Any, wanted: Iterable[str], name: str, where: str) -> None:
    wanted = list(wanted)
    found = list(table) if isinstance(table, dict) else []
    if sorted(found) != sorted(wanted):
        place = f"`{where}` of the lexicon `{name}`" if where else f"the lexicon `{name}`"
        raise forge.StepError(
            f"{place} must hold exactly {', '.join(wanted)}, it holds {', '.join(found) or 'nothing'}"
        )


def _terms(value: Any, name: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(term, str) and term for term in value):
        raise forge.StepError(f"`{where}` in the lexicon `{name}` must be a list of words")
    return tuple(value)
