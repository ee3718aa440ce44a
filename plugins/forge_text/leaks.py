"""Look for personal data that is still there, in tables and in text that models wrote."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import attrs
from attrs.validators import ge, min_len

import forge
from forge_text.filters import OPTIONAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import polars as pl

    Places = dict[tuple[str, str], list[str]]

_EXAMPLES = 3
_SHOWN = 2  # characters of an example that are not masked


@attrs.frozen
class Leaks:
    """Count personal data in every text of the inputs; more than *most* fails the build.

    Tables are read whole: every string column, those in lists and structs too. Of files, those whose names match one
    of *members* are read: JSON by its strings, all else by its lines.
    Findings count by type and place, with masked examples. *also* looks for ``bank_card`` and ``passport`` too;
    *allow* names what may stand there, exactly as it is written (a hotline of your own).
    """

    most: int = attrs.field(default=0, validator=ge(0))
    members: tuple[str, ...] = attrs.field(default=("*.json", "*.jsonl", "*.txt"), validator=min_len(1))
    also: tuple[Literal["bank_card", "passport"], ...] = ()
    allow: tuple[str, ...] = ()

    def check(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Finding]:
        """Yield the figure that counts, then one finding for each type and place."""
        del out
        found: dict[tuple[str, str], list[str]] = {}
        texts = 0
        for name, artifact in inputs.items():
            for place, strings in self._strings(name, artifact):
                texts += strings.height
                self._look(place, strings, found)
                run.progress(texts)
        total = sum(len(examples) for examples in found.values())
        most = sorted(found.items(), key=lambda entry: (-len(entry[1]), entry[0]))[:_EXAMPLES]
        where = [f"{len(examples)} {kind} in {place}, {examples[0]}" for (place, kind), examples in most]
        yield forge.Finding(
            "personal data", total, self.most, total <= self.most, "; ".join([*where, f"{texts} texts were read"])
        )
        for (place, kind), examples in sorted(found.items()):
            yield forge.Finding(f"{kind} in {place}", len(examples), detail="; ".join(examples[:_EXAMPLES]))

    def _strings(self, name: str, artifact: forge.Artifact) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield the strings of an artifact with the name of the place they stand in."""
        import polars as pl

        from forge_text.leaves import strings_in, strings_of

        read = False
        for member, path in artifact.files().items():
            place = name if member == "rows.arrow" else f"{name}/{member.removesuffix('/rows.arrow')}"
            if path.name == "rows.arrow":
                read = True
                yield from ((f"{place}.{column}", strings) for column, strings in strings_of(pl.read_ipc(path)))
            elif self._chosen(member):
                read = True
                yield from ((place, strings) for strings in strings_in(path))
        if not read:
            raise forge.StepError(
                f"input `{name}` holds no table and no member that matches {', '.join(f'`{m}`' for m in self.members)}",
                hint=f"it holds {', '.join(f'`{member}`' for member in list(artifact.files())[:5])}; see `members`",
            )

    def _chosen(self, member: str) -> bool:
        from fnmatch import fnmatchcase

        return any(fnmatchcase(member, pattern) for pattern in self.members)

    def _look(self, place: str, strings: pl.DataFrame, found: Places) -> None:
        from forge_text.personal import EVERYWHERE, find, suspects

        kinds = EVERYWHERE | {OPTIONAL[name] for name in self.also}
        for index, text in suspects(strings["text"]):
            for item in find(text, kinds):
                written = text[item.start : item.stop]
                if written not in self.allow and item.value not in self.allow:
                    row = strings["row"][index]
                    found.setdefault((place, item.kind), []).append(f"row {row}: {masked(written)}")


def masked(text: str) -> str:
    """Return *text* with every letter and digit but the first two hidden."""
    return text[:_SHOWN] + re.sub(r"\w", "*", text[_SHOWN:])
