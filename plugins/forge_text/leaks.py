"""Look for personal data that is still there, in tables and in text that models wrote."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import attrs
from attrs.validators import ge, min_len

import forge
from forge_text.filters import OPTIONAL
from forge_text.leaves import counted_in, encoding_of, strings_in, strings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import polars as pl

    Places = dict[tuple[str, str], list[str]]

_TABLES = ("rows.arrow", "rejects.arrow")
_EXAMPLES = 3
_NAMED = 5  # members that were not read
_SHOWN = 2  # characters of an example that are not masked


@attrs.frozen
class Leaks:
    """Count personal data in every text of the inputs; more than *most* fails the build.

    Tables are read whole, and what a source rejected beside them: every column of strings, those in lists and structs
    too, and of numbers the whole ones of seven digits or more. Of files, those are read whose names match one of
    *members* (capitals or not) and that are text, in UTF-8, GB18030 or UTF-16: JSON by its strings and numbers, all
    else by its lines. The receipt names the members that were not read.
    Findings count by type and place, with masked examples; rows of tables count from 0, lines of files from 1.
    *also* looks for ``bank_card`` and ``passport`` too; *allow* names what may stand there, exactly as it is written
    (a hotline of your own).
    """

    most: int = attrs.field(default=0, validator=ge(0))
    members: tuple[str, ...] = attrs.field(default=("*",), validator=min_len(1))
    also: tuple[Literal["bank_card", "passport"], ...] = ()
    allow: tuple[str, ...] = ()

    def check(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Finding]:
        """Yield the figure that counts, then one finding for each type and place."""
        del out
        found: Places = {}
        unread: list[str] = []
        texts = 0
        for name, artifact in inputs.items():
            for place, word, strings in self._strings(name, artifact, unread):
                texts += strings.height
                self._look(place, word, strings, found)
                run.progress(texts)
        yield self._figure(found, texts, unread)
        for (place, kind), examples in sorted(found.items()):
            yield forge.Finding(f"{kind} in {place}", len(examples), detail="; ".join(examples[:_EXAMPLES]))
        if unread:
            yield forge.Finding("members not read", len(unread), detail=_some(unread))

    def _figure(self, found: Places, texts: int, unread: list[str]) -> forge.Finding:
        """Return the figure that counts, with the places that hold most."""
        total = sum(len(examples) for examples in found.values())
        most = sorted(found.items(), key=lambda entry: (-len(entry[1]), entry[0]))[:_EXAMPLES]
        said = [f"{len(examples)} {kind} in {place}, {examples[0]}" for (place, kind), examples in most]
        said.append(f"{texts} texts were read")
        if unread:
            said.append(f"not read: {_some(unread)}")
        return forge.Finding("personal data", total, self.most, total <= self.most, "; ".join(said))

    def _strings(
        self, name: str, artifact: forge.Artifact, unread: list[str]
    ) -> Iterator[tuple[str, str, pl.DataFrame]]:
        """Yield the strings of an artifact with their place and what its numbers count; *unread* gets the rest."""
        read = False
        for member, path in artifact.files().items():
            place = f"{name}/{member}"
            if path.name in _TABLES:
                read = read or path.name == "rows.arrow"
                yield from _columns(place.removesuffix(".arrow").removesuffix("/rows"), path)
            elif (encoding := self._encoding(member, path)) is None:
                unread.append(place)
            else:
                read = True
                yield from ((place, counted_in(path), strings) for strings in strings_in(path, encoding))
        if not read:
            raise forge.StepError(
                f"input `{name}` holds no table and no text in members that match "
                + ", ".join(f"`{pattern}`" for pattern in self.members),
                hint=f"it holds {', '.join(f'`{member}`' for member in list(artifact.files())[:5])}; see `members`",
            )

    def _encoding(self, member: str, path: Path) -> str | None:
        """Return the encoding of a member, None where it is not to be read or is no text."""
        return encoding_of(path) if self._chosen(member) else None

    def _chosen(self, member: str) -> bool:
        from fnmatch import fnmatchcase

        return any(fnmatchcase(member.lower(), pattern.lower()) for pattern in self.members)

    def _look(self, place: str, word: str, strings: pl.DataFrame, found: Places) -> None:
        from forge_text.personal import EVERYWHERE, find, suspects

        kinds = EVERYWHERE | {OPTIONAL[name] for name in self.also}
        for index, text in suspects(strings["text"]):
            for item in find(text, kinds):
                written = text[item.start : item.stop]
                if written not in self.allow and item.value not in self.allow:
                    row = strings["row"][index]
                    found.setdefault((place, item.kind), []).append(f"{word} {row}: {masked(written)}")


def _columns(place: str, path: Path) -> Iterator[tuple[str, str, pl.DataFrame]]:
    import polars as pl

    yield from ((f"{place}.{column}", "row", strings) for column, strings in strings_of(pl.read_ipc(path)))


def _some(names: list[str]) -> str:
    """Return the first of *names*, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def masked(text: str) -> str:
    """Return *text* with every letter and digit but the first two hidden."""
    return text[:_SHOWN] + re.sub(r"\w", "*", text[_SHOWN:])
