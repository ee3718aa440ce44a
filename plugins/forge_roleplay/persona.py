"""Who the model is to be: the parameters that every step which makes samples has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs
from attrs.validators import min_len

import forge

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def check_placeholders(where: str, template: str, known: Iterable[str]) -> None:
    """Refuse a `{name}` in *template* that nothing fills in."""
    names = sorted(known)
    for name in _PLACEHOLDER.findall(template):
        if name not in names:
            listed = ", ".join(f"`{{{each}}}`" for each in names)
            message = f"`{where}` holds `{{{name}}}`, which nothing fills in; there is {listed}"
            raise ValueError(message)


@attrs.frozen(kw_only=True)
class Persona:
    """Hold the *character*'s name as it stands in ``speaker``, other names, and the system prompt that says who it is.

    The prompt is the text *system* or the file *persona*; ``{character}`` in it becomes the name.
    """

    character: str = attrs.field(validator=min_len(1))
    aliases: tuple[str, ...] = ()
    system: str = ""
    persona: forge.File | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse two prompts, and what can't be filled in."""
        if self.system and self.persona is not None:
            message = "`system` and `persona` both say who the character is: give one of them"
            raise ValueError(message)
        check_placeholders("system", self.system, ["character"])

    def prompt(self) -> str | None:
        """Return the system prompt; None where there is none."""
        template = self.system
        if self.persona is not None:
            template = self._read(self.persona)
        return template.replace("{character}", self.character).strip() or None

    def own(self, speaker: pl.Expr) -> pl.Expr:
        """Say whether *speaker* is the character."""
        return speaker.str.strip_chars().is_in([self.character, *self.aliases])

    def _read(self, file: forge.File) -> str:
        try:
            text = file.read_text("utf-8-sig")
        except UnicodeDecodeError:
            raise forge.StepError(f"the persona `{file.name}` is not UTF-8", hint="save it as UTF-8") from None
        if not text.strip():
            raise forge.StepError(f"the persona `{file.name}` is empty", hint="say who the character is")
        try:
            check_placeholders(file.name, text, ["character"])
        except ValueError as error:
            raise forge.StepError(str(error)) from None
        return text


def need(rows: pl.LazyFrame, columns: Iterable[str]) -> list[str]:
    """Return the names of all columns; raise where one of *columns* is missing."""
    names = rows.collect_schema().names()
    for column in columns:
        if column not in names:
            raise forge.StepError(
                f"there is no column `{column}`", hint=f"the table has {', '.join(f'`{name}`' for name in names)}"
            )
    return names


def joined(columns: Iterable[str]) -> pl.Expr:
    """Return the values of *columns* as one text; a file's name loses its `.json`."""
    import polars as pl

    pieces = [pl.col(column).cast(pl.String).fill_null("").str.strip_suffix(".json") for column in columns]
    return pl.concat_str(pieces, separator="_")
