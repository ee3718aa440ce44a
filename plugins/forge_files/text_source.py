"""Plain text as a source."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import attrs
from attrs.validators import min_len

from forge_files.reading import Broken, is_sound, lines_of
from forge_files.table_source import TableSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_ESCAPE = re.compile(r"\\([\\nt])")
_MEANING = {"\\": "\\", "n": "\n", "t": "\t"}


@attrs.frozen(kw_only=True)
class FilesText(TableSource):
    r"""Read text files: a file, a line, or a paragraph (up to a blank line) is a row, its text in *column*.

    Blank lines are passed over. With *unescape* the two characters ``\n`` in a text are a line break, ``\t`` a tab and
    ``\\`` one backslash.
    """

    each: Literal["file", "line", "paragraph"] = "file"
    column: str = attrs.field(default="text", validator=min_len(1))
    unescape: bool = False

    def entries(self, text: str) -> Iterator[tuple[int, Any]]:
        """Yield number and text of each file, line or paragraph, the number of its first line."""
        for number, piece in self._pieces(text):
            if not is_sound(piece):
                yield number, Broken("broken characters", piece)
            else:
                plain = _ESCAPE.sub(lambda found: _MEANING[found[1]], piece) if self.unescape else piece
                yield number, {self.column: plain}

    def _pieces(self, text: str) -> Iterator[tuple[int, str]]:
        if self.each == "file":
            yield 1, text
            return
        begin, lines = 0, list[str]()
        for number, line in lines_of(text):
            if not line.strip():
                if lines:
                    yield begin, "\n".join(lines)
                lines = []
                continue
            if self.each == "line":
                yield number, line.rstrip("\r\n")
                continue
            begin = begin if lines else number
            lines.append(line.rstrip("\r\n"))
        if lines:
            yield begin, "\n".join(lines)
