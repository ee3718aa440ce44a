"""White space and comparison forms, as Polars expressions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

SPACE = r"[\s\x1c-\x1f]"
"""What Python's ``str.isspace`` calls a space: Rust's ``\\s`` leaves the four separators out."""

_UNEVEN_SPACE = r" [\s\x1c-\x1f]+|[\s\x1c-\x1f&&[^ ]][\s\x1c-\x1f]*"
UNEVEN = r"^ | $|  |[\s\x1c-\x1f&&[^ ]]"
"""Matches in every text that `even_spaces` changes."""

_SAYS_NOTHING = r"[^\p{L}\p{M}\p{N}\p{Sm}\p{Sc}\p{So}ꓸ#]|[~|]"
"""Punctuation, blanks and what people draw lines with; marks spell vowels, symbols tell `C++` from `C`."""
_POINT = r"([0-9])\.([0-9])"
_KEPT_POINT = "${1}\ua4f8${2}"
"""A decimal point as a letter that looks like one: 1.5 is not 15."""
_CHANGED_BY_NFKC_OR_CASE = (
    r"[^\x00-@\[-\x7f\u00b7\u2010-\u2027\u2032\u3000-\u3003\u3008-\u3011"
    r"\u3400-\u4dbf\u4e00-\u9fff\uff01\uff02\uff05-\uff0a\uff0c-\uff0f\uff1a\uff1b\uff1f\uff20\uff3b-\uff40\uff5b-\uff65]"
    r"|[0-9]\.[0-9]"
)
"""All but plain letters, digits, Han and symbols, and punctuation that NFKC turns into punctuation."""


def even_spaces(text: pl.Expr) -> pl.Expr:
    """Turn every run of white space into one blank and trim the ends.

    A single blank is left unmatched, so ordinary text is not copied.
    """
    return text.str.replace_all(_UNEVEN_SPACE, " ").str.strip_chars(" ")


def comparable(text: pl.Expr) -> pl.Expr:
    """Keep letters, digits and symbols in NFKC and lower case: what counts when two texts are compared.

    Punctuation goes, but for the point between two digits.
    """
    import polars as pl

    return text.map_batches(_comparable, return_dtype=pl.String, is_elementwise=True)


def told_apart(text: pl.Expr) -> pl.Expr:
    """Return what equal texts have in common: the comparable form, or of a text without any the text itself."""
    import polars as pl

    def apart(texts: pl.Series) -> pl.Series:
        found = pl.when(pl.col("found") == "").then(pl.col("text").str.strip_chars()).otherwise(pl.col("found"))
        return pl.DataFrame({"text": texts, "found": _comparable(texts)}).select(found.alias(texts.name)).to_series()

    return text.map_batches(apart, return_dtype=pl.String, is_elementwise=True)


def _comparable(texts: pl.Series) -> pl.Series:
    """Return the comparable form of each text.

    In most Chinese texts NFKC and lower case change nothing but punctuation, which goes anyway: those are spared both.
    """
    import polars as pl

    each, frame = pl.col("text"), texts.to_frame("text")  # a series' own methods would run on one core
    changed = each.str.contains(_CHANGED_BY_NFKC_OR_CASE).fill_null(value=False)
    awkward = frame.select(changed).to_series().arg_true()
    if 2 * len(awkward) > len(texts):
        return frame.select(_fully(each)).to_series().alias(texts.name)
    short = frame.select(each.str.replace_all(_SAYS_NOTHING, "")).to_series().alias(texts.name)
    if not len(awkward):
        return short
    return short.scatter(awkward, frame[awkward].select(_fully(each)).to_series())


def _fully(text: pl.Expr) -> pl.Expr:
    plain = text.str.normalize("NFKC").str.replace_all(_POINT, _KEPT_POINT)
    return plain.str.replace_all(_SAYS_NOTHING, "").str.to_lowercase()


def text_of(column: str, rows: pl.LazyFrame) -> pl.Expr:
    """Return the text of *column*: a string as it is, a list of turns as its texts, one a line."""
    import polars as pl

    import forge

    schema = rows.collect_schema()
    if column not in schema:
        raise forge.StepError(
            f"there is no column `{column}`", hint=f"the table has {', '.join(f'`{name}`' for name in schema.names())}"
        )
    kind = schema[column]
    if kind == pl.String:
        return pl.col(column)
    if is_conversation(kind):
        return pl.col(column).list.eval(pl.element().struct.field("text")).list.join("\n", ignore_nulls=True)
    raise forge.StepError(f"column `{column}` holds {kind}, not text", hint="name a string column or a conversation")


def is_conversation(kind: object) -> bool:
    """Say whether a column's type is a list of structs with a string field ``text``."""
    import polars as pl

    if not isinstance(kind, pl.List) or not isinstance(kind.inner, pl.Struct):
        return False
    return any(field.name == "text" and field.dtype == pl.String for field in kind.inner.fields)
