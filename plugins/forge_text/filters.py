"""Row filters and the anonymiser as step types."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import attrs
from attrs.validators import ge, min_len, optional

import forge
from forge_text.normalise import is_conversation, text_of

if TYPE_CHECKING:
    import polars as pl


OPTIONAL = {"bank_card": "BANK", "passport": "PASSPORT"}
"""Kinds of personal data that are looked for on demand, by the names that manifests use."""


@attrs.frozen
class Anonymise:
    """Replace telephone numbers, e-mail addresses, identity cards and social accounts in *columns*.

    A column holds strings, or turns with a field ``text``. Prices, dates, scores and hotlines stay.
    ``mode = "placeholder"`` puts ``[PHONE]``, ``[EMAIL]``, ``[ID]`` or ``[SOCIAL]`` there; *also* adds bank cards
    (``[BANK]``) and passports (``[PASSPORT]``).
    ``mode = "pseudonym"`` gives each item a name of its own (``[PHONE-0f3a9c1d22]``), the same one wherever it stands
    and however it is spelled. The names are keyed by the secret in the environment variable that *key_env* names.
    The secret itself is in no key of the cache: raise *key_version* when it changes.
    """

    columns: tuple[str, ...] = attrs.field(validator=min_len(1))
    mode: Literal["placeholder", "pseudonym"] = "placeholder"
    also: tuple[Literal["bank_card", "passport"], ...] = ()
    key_env: str | None = attrs.field(default=None, validator=optional(min_len(1)))
    key_version: int = attrs.field(default=1, validator=ge(1))

    def __attrs_post_init__(self) -> None:
        """Refuse pseudonyms without a key before anything runs."""
        if self.mode == "placeholder":
            if self.key_env is not None:
                message = '`key_env` is for `mode = "pseudonym"`'
                raise ValueError(message)
        elif self.key_env is None:
            message = '`mode = "pseudonym"` needs `key_env`, the name of the environment variable that holds its key'
            raise ValueError(message)

    def secrets(self) -> tuple[str, ...]:
        """Return what must be set in the environment before the step runs; its result can be looked at without."""
        return () if self.key_env is None else (self.key_env,)

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Rewrite the columns."""
        import polars as pl

        from forge_text.personal import EVERYWHERE, anonymised, placeholder, pseudonyms

        kinds = EVERYWHERE | {OPTIONAL[name] for name in self.also}
        replace = placeholder if self.key_env is None else pseudonyms(_secret(self.key_env))
        schema = rows.collect_schema()
        for column in self.columns:
            if column in schema and schema[column].is_numeric():
                raise _numbers(column, schema[column])
            text_of(column, rows)  # refuses a column that is missing or holds no text
        field = pl.element().struct.field("text")
        return rows.with_columns(
            pl.col(column).list.eval(pl.element().struct.with_fields(anonymised(field, replace, kinds).alias("text")))
            if is_conversation(schema[column])
            else anonymised(pl.col(column), replace, kinds)
            for column in self.columns
        )


def _numbers(column: str, kind: pl.DataType) -> forge.StepError:
    hint = 'read it as text: `types = "text"` does so in a `files.csv` source; in JSON, write it in quotes'
    return forge.StepError(f"column `{column}` holds {kind}, not text", hint=hint)


def _secret(name: str) -> bytes:
    value = os.environ.get(name, "")
    if not value.strip():
        hint = "give it the key of the pseudonyms, the same one for every build"
        raise forge.StepError(f"the environment variable `{name}`, which `key_env` names, is not set", hint=hint)
    return value.encode()


@attrs.frozen
class LengthBand:
    """Keep rows whose *column* holds *least* to *most* characters."""

    column: str
    least: int = attrs.field(default=1, validator=ge(0))
    most: int = attrs.field(default=100_000, validator=ge(0))

    def __attrs_post_init__(self) -> None:
        """Refuse a band that nothing fits in."""
        if self.least > self.most:
            message = f"`least` is {self.least}, over `most`, which is {self.most}: no row would be left"
            raise ValueError(message)

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Mark the rows outside the band; a null counts as empty."""
        length = text_of(self.column, rows).fill_null("").str.len_chars()
        return forge.drop(
            rows,
            {f"under {self.least} characters": length < self.least, f"over {self.most} characters": length > self.most},
        )
