"""What labelers share whose replies lie in files already: nothing is asked twice, and nothing written down again."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import ge, le

import forge
from forge_label.schema import Label, Schema
from forge_label.statistics import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl


@attrs.frozen(kw_only=True)
class Found:
    """Label rows by replies that are there; a subclass says where."""

    schema: forge.File | dict[str, Label]
    completeness: float = attrs.field(default=1.0, validator=[ge(0.0), le(1.0)])
    prompt: str | None = forge.setting(None)  # of the labelers that ask: passed over, so that one may stand for another

    @property
    def attempts(self) -> int:
        """Ask once: what was said stays said."""
        return 1

    @property
    def journalled(self) -> bool:
        """Keep no second copy of what lies in the files."""
        return False

    def columns(self) -> list[str]:
        """Return the columns that labels will stand in."""
        return self._schema.names

    def statistics(self, rows: pl.LazyFrame) -> Mapping[str, Any]:
        """Count states and labels."""
        return describe(rows, self._schema.names)

    @functools.cached_property
    def _schema(self) -> Schema:
        return Schema.read(self.schema)
