"""Bytes to text: encodings found or declared, line ends of any kind, and what is said of what can't be read."""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

    import forge

EXCERPT = 120  # characters
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "ZIP"),
    (b"\xfd7zXZ\x00", "xz"),
    *((b"BZh%d1AY&SY" % level, "bzip2") for level in range(1, 10)),
)
_NULS = "not text: it holds NUL bytes"
_MOST_NULS = 0.05  # the share of NULs from which bytes are no text
_DOUBTFUL = "utf-8?"  # read as UTF-8 for want of anything better
_MOST_DOUBTFUL = 0.005  # the share of other bytes with which that is done
_FREQUENT = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
    "用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实"
)
_LEVEL, _SHORT, _MOST_FREQUENT = 0.75, 50, 0.05  # see _is_chinese
_SURROGATE = re.compile(r"\\u[dD]")
_END = re.compile(r"\r\n|\r|\n")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")


class Broken(Exception):
    """Say why a file, or one record of it, can't be used."""

    def __init__(self, reason: str, record: Any = "") -> None:
        super().__init__(reason)
        self.reason = reason
        text = record if isinstance(record, str) else json.dumps(record, ensure_ascii=False, default=str)
        self.excerpt = " ".join(text[: 4 * EXCERPT].split())[:EXCERPT].encode(errors="replace").decode()


def known_encoding(_instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    """Refuse an encoding that Python does not know."""
    try:
        if value != "auto":
            codecs.lookup(value)
    except LookupError:
        raise ValueError(
            f"`{attribute.name}` must be `auto` or an encoding such as `utf-8`, `gb18030`, got `{value}`"
        ) from None


def decode(data: bytes, encoding: str = "auto") -> str:
    """Return the text of *data* without a byte order mark, as `decoded` does."""
    return decoded(data, encoding)[0]


def text_of(file: forge.File, encoding: str, run: forge.Run) -> str:
    """Return the text of *file*, and say in the log which encoding was found where it isn't UTF-8; raises Broken."""
    text, name = decoded(file.read_bytes(), encoding)
    if encoding != "auto":
        return text
    if name == _DOUBTFUL:
        run.warn(
            f"`{file.name}` is read as UTF-8, but for the records that hold other bytes; "
            "if it is in another encoding, name it by `encoding`"
        )
    elif not name.startswith("utf-8"):
        run.log(f"`{file.name}` is read as {name.upper()}")
    return text


def decoded(data: bytes, encoding: str) -> tuple[str, str]:
    """Return the text of *data* without a byte order mark, and the encoding that it was in.

    ``auto`` goes by the mark, else takes UTF-8, else GB18030, which holds GBK and GB2312, if the text is Chinese then.
    Text of which a few bytes are damaged keeps them as lone surrogates, and so a few NUL bytes, so that only the
    records that hold them need to be rejected. Raises Broken for what is no text, or in no encoding that can be told.
    """
    if not data.strip(b"\xef\xbb\xbf\xfe\xff \t\r\n"):
        raise Broken("empty file")
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    name = (marked or _found(data)) if encoding == "auto" else encoding
    codec = "utf-8-sig" if marked == "utf-8-sig" and name == "utf-8" else name.removesuffix("?")
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        text = _damaged(data, codec)
    if "\0" in text:
        if text.count("\0") > max(1, len(text) * _MOST_NULS):
            raise Broken(_NULS, text.replace("\0", " "))
        text = text.replace("\0", "\udc00")
    if not text.strip():
        raise Broken("empty file")
    return text, name


def has_mark(data: bytes) -> bool:
    """Say whether *data* begins with a byte order mark."""
    return any(data.startswith(mark) for mark, _ in _MARKS)


def _found(data: bytes) -> str:
    """Return the encoding of *data* that has no mark; raises Broken where it can't be told."""
    _refuse_binary(data)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end == len(data) and error.reason == "unexpected end of data":
            return "utf-8"  # cut off in the midst of a character
    else:
        return "utf-8"
    # Damaged UTF-8 often decodes as GB18030, to nonsense: most of its letters are whole, of real GB18030 few are.
    loose = Counter(data.decode("utf-8", "surrogateescape"))
    damaged = sum(count for letter, count in loose.items() if "\udc80" <= letter <= "\udcff")
    whole = sum(count for letter, count in loose.items() if letter > "\x7f") - damaged
    if damaged * 4 <= whole:
        return "utf-8"
    if _is_chinese(data.decode("gb18030", "replace")):
        return "gb18030"
    if damaged <= len(data) * _MOST_DOUBTFUL:
        return _DOUBTFUL
    raise Broken("neither UTF-8 nor Chinese in GB18030: name its `encoding`", data[: 4 * EXCERPT].decode("latin-1"))


def _refuse_binary(data: bytes) -> None:
    """Raise Broken for compressed files, and for bytes of which many are NULs."""
    for head, kind in _PACKED:
        if data.startswith(head):
            raise Broken(f"compressed by {kind}: `files.unpack` unpacks it")
    if data.count(0) <= max(1, len(data) * _MOST_NULS):
        return
    for name, empty, full in (("utf-16-le", data[1::2], data[::2]), ("utf-16-be", data[::2], data[1::2])):
        if 0 in empty and 0 not in full and is_in(data, name):
            raise Broken(f'UTF-16 without a mark: name it by `encoding = "{name}"`', data[: 4 * EXCERPT].decode(name))
    raise Broken(_NULS, data[: 4 * EXCERPT].replace(b"\0", b" ").decode("latin-1"))


def is_in(data: bytes, encoding: str) -> bool:
    """Say whether all of *data* can be decoded."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_chinese(text: str) -> bool:
    """Say whether *text*, which may be other bytes read as GB18030, is what people write.

    Of Chinese, nearly all is among the 3,755 characters of the first level of GB2312 and its punctuation, and much of a
    longer text among the hundred most frequent; other encodings read as GB18030 are spread over all that there is.
    """
    letters = {letter: count for letter, count in Counter(text).items() if "\x7f" < letter <= "\uffff"}
    total = sum(letters.values())
    level = sum(count for letter, count in letters.items() if _is_frequent(letter.encode("gb18030", "replace")))
    most = sum(letters.get(letter, 0) for letter in _FREQUENT)
    return 0 < total * _LEVEL <= level and (total < _SHORT or most >= total * _MOST_FREQUENT)


def _is_frequent(code: bytes) -> bool:
    """Say whether two bytes are punctuation or a character of the first level."""
    return len(code) == 2 and code[1] > 0xA0 and (0xA1 <= code[0] <= 0xA3 or 0xB0 <= code[0] <= 0xD7)  # noqa: PLR2004  # rows of GB2312


def _damaged(data: bytes, name: str) -> str:
    try:
        return data.decode(name, "surrogateescape")
    except UnicodeDecodeError:
        raise Broken(f"not {name.removesuffix('-sig').upper()}", data[:EXCERPT].decode("latin-1")) from None


def is_sound(text: str) -> bool:
    """Say whether *text* holds no byte that could not be decoded, and no half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def may_be_unsound(text: str) -> bool:
    """Say whether JSON values read from *text* may hold what `is_sound` refuses."""
    return _SURROGATE.search(text) is not None or not is_sound(text)


def count_lines(text: str) -> int:
    """Return how many ends of lines *text* has."""
    return len(_END.findall(text))


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its number from 1 and its end; CR, LF and CRLF end a line, other separators are text."""
    for number, match in enumerate(_LINE.finditer(text), start=1):
        if match.group():
            yield number, match.group()
