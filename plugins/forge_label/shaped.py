"""What all labelers share whose labels have the shape of a schema, wherever the replies come from."""

from __future__ import annotations

import abc
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
class Shaped(abc.ABC):
    """Label rows with what ``schema`` describes; fewer labelled ones than ``completeness`` fail the step."""

    schema: forge.File | dict[str, Label]
    completeness: float = attrs.field(default=1.0, validator=[ge(0.0), le(1.0)])

    def columns(self) -> list[str]:
        """Return the columns that labels will stand in."""
        return self._schema.names

    def statistics(self, rows: pl.LazyFrame) -> Mapping[str, Any]:
        """Count states and labels."""
        return describe(rows, self._schema.names)

    @functools.cached_property
    def _schema(self) -> Schema:
        return Schema.read(self.schema)
