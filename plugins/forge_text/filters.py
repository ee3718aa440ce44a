"""Row filters and the anonymiser as step types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, min_len

import forge
from forge_text.normalise import is_conversation, text_of

if TYPE_CHECKING:
    import polars as pl


@attrs.frozen
class Anonymise:
    """Replace telephone numbers, e-mail addresses, identity cards and social accounts in *columns* by placeholders.

    A column holds strings, or turns with a field ``text``.
    The placeholders are ``[PHONE]``, ``[EMAIL]``, ``[ID]`` and ``[SOCIAL]``; prices, dates, scores and hotlines stay.
    """

    columns: tuple[str, ...] = attrs.field(validator=min_len(1))

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Rewrite the columns."""
        import polars as pl

        from forge_text.personal import anonymised

        schema = rows.collect_schema()
        for column in self.columns:
            text_of(column, rows)  # refuses a column that is missing or holds no text
        return rows.with_columns(
            pl.col(column).list.eval(
                pl.element().struct.with_fields(anonymised(pl.element().struct.field("text")).alias("text"))
            )
            if is_conversation(schema[column])
            else anonymised(pl.col(column))
            for column in self.columns
        )


@attrs.frozen
class LengthBand:
    """Keep rows whose *column* holds *least* to *most* characters."""

    column: str
    least: int = attrs.field(default=1, validator=ge(0))
    most: int = attrs.field(default=100_000, validator=ge(0))

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Mark the rows outside the band; a null counts as empty."""
        length = text_of(self.column, rows).fill_null("").str.len_chars()
        return forge.drop(
            rows,
            {f"under {self.least} characters": length < self.least, f"over {self.most} characters": length > self.most},
        )
