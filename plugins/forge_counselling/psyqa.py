"""Read PsyQA questions, in the published layout and in the one with likes."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge_counselling.json_lists import Piece, cut
from forge_counselling.records import Broken, records

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

_TEXTS = ("id", "questionID", "title", "question", "content", "description", "keywords")
_ANSWER_TEXTS = ("content", "answer_text", "likes")
_FIELDS = ("title", "question", "content", "description", "answers")
_LIST = re.compile(rb"[\xef\xbb\xbf \t\r\n]*\[")
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]", re.DOTALL
)
_SURROGATE = re.compile(rb"\\u[dD]")
_SEPARATORS = r"[,，、;；]"
_LIKES = r"^\s*([0-9]+(?:,[0-9]{3})*(?:\.[0-9]*)?|\.[0-9]+)"
_LIKES_UNIT = r"^\s*[0-9.,]+\s*([kKwW千万]?)"
_MOST_LIKES = 10**12  # beyond it a count is a misprint, and a float no longer exact

_NOTHING_KNOWN = "not a question"


@attrs.frozen
class PsyQA:
    """Read PsyQA questions with their answers.

    Both layouts may be mixed, in one file too: ``question/description/keywords/answers[answer_text]`` and
    ``title/content/tags/answers[content, likes]``. Likes may be numbers, texts such as ``12赞``, ``1.2k`` and ``3万``,
    null, or missing, which counts as 0. A number where a text belongs is taken as its text; of a key that stands twice
    in an object the first counts, for so Polars reads it. A record whose answers have their text in another field is
    rejected. Files are UTF-8, UTF-16 with its mark, or GB18030. A list that Polars can read as it is takes the fast
    way, in pieces of some megabytes; what follows from the first piece on that it can't read is read record by record,
    and only the broken records are rejected.
    """

    path: forge.Files
    most_rejects: float = forge.most_rejects()

    def read(self, run: forge.Run) -> Iterator[pl.DataFrame | forge.Reject]:
        """Yield tables of some thousand questions, each after the rejects among them."""
        for raw, table in forge.ahead(_shaped, self._raw(run.threads), run.threads):
            yield from raw.rejects
            yield table
            run.progress(raw.place, len(self.path))
        run.progress(len(self.path), len(self.path))

    def _raw(self, threads: int) -> Iterator[Raw]:
        for place, file in enumerate(self.path):
            for frame, rejects in _raw_tables(file, threads):
                yield Raw(place, file.name, frame, rejects)


@attrs.frozen
class Raw:
    """Hold questions as they are written in a file, the *place* of it among all, and what can't be used there."""

    place: int
    file: str
    frame: pl.DataFrame
    rejects: list[forge.Reject]


def _shaped(raw: Raw) -> tuple[Raw, pl.DataFrame]:
    """Return the questions in their one shape, and with the rejects what is none."""
    import polars as pl

    unknown = pl.all_horizontal(pl.col(name).is_null() for name in _FIELDS)
    strange = [forge.Reject(raw.file, _NOTHING_KNOWN, index) for index in raw.frame.filter(unknown)["index"]]
    rejects = sorted([*raw.rejects, *strange], key=lambda reject: reject.index or 0)
    stem = str(PurePosixPath(raw.file).with_suffix(""))
    return attrs.evolve(raw, rejects=rejects), _shape(raw.frame.filter(~unknown), stem)


def _raw_tables(file: forge.File, threads: int) -> Iterator[tuple[pl.DataFrame, list[forge.Reject]]]:
    """Yield a file's raw records, numbered from 1, with the rejects among them.

    From the first piece on that is no well-formed list the rest is looked at as a whole, then record by record.
    """
    done = 0
    with file.path.open("rb") as stream:
        for piece, frame in forge.ahead(_parsed, cut(stream.fileno()), threads):
            if frame is not None:
                yield _numbered(frame, done), []
                done += frame.height
                continue
            rest = attrs.evolve(piece, start=piece.start if done else 0, end=None, whole=not done).read()
            whole = None if piece.last else _clean_list(rest)
            yield _one_by_one(file.name, rest, done) if whole is None else (_numbered(whole, done), [])
            return


def _parsed(piece: Piece) -> tuple[Piece, pl.DataFrame | None]:
    return piece, _clean_list(piece.read())


def _numbered(frame: pl.DataFrame, done: int) -> pl.DataFrame:
    return frame.with_row_index("index", offset=done + 1)


def _one_by_one(name: str, data: bytes, done: int) -> tuple[pl.DataFrame, list[forge.Reject]]:
    """Return the records of a list that can be used, and the others as rejects; *done* stand before them."""
    import polars as pl

    good, rejects = [], []
    # what stands before was UTF-8: this is not looked at for itself, a damaged letter may look like another encoding
    for index, record in enumerate(records(data, utf8=done > 0), start=done + 1):
        try:
            good.append({"index": index, **_plain(record)})
        except Broken as broken:
            rejects.append(forge.Reject(name, broken.reason, index, broken.excerpt))
    return pl.DataFrame(good, schema={"index": pl.get_index_type(), **_schema()}), rejects


def _schema() -> dict[str, Any]:
    import polars as pl

    answers = pl.List(pl.Struct(dict.fromkeys(_ANSWER_TEXTS, pl.String)))
    return {**dict.fromkeys(_TEXTS, pl.String), "tags": pl.List(pl.String), "answers": answers}


def _clean_list(data: bytes) -> pl.DataFrame | None:
    """Return the records of a well-formed JSON list, or None where reading it record by record may tell more."""
    import polars as pl

    # Polars turns half of a surrogate pair into a NUL without a word, and accepts an empty file.
    if _LIST.match(data) is None or _has_half_pairs(data):
        return None
    try:
        frame = pl.read_json(data, schema=_schema())
    except pl.exceptions.PolarsError:
        return None
    return None if _lacks_texts(frame) else frame


def _lacks_texts(frame: pl.DataFrame) -> bool:
    """Say whether no answer of some record has a text, which may then stand in a field that nobody knows."""
    import polars as pl

    def textless(answer: pl.Expr) -> pl.Expr:
        return pl.all_horizontal(answer.struct.field(name).is_null() for name in _ANSWER_TEXTS[:2])

    answers = frame.select(pl.col("answers").explode(empty_as_null=False, keep_nulls=False))
    if not answers.select(textless(pl.col("answers")).any()).item():
        return False  # looked at first: it costs next to nothing
    without = pl.col("answers").list.eval(textless(pl.element())).list.all() & (pl.col("answers").list.len() > 0)
    return bool(frame.select(without.any()).item())


def _has_half_pairs(data: bytes) -> bool:
    """Say whether *data* holds half of an escaped surrogate pair."""
    # the first look is one for three bytes, and most files hold none of them
    return _SURROGATE.search(data) is not None and _LONE_SURROGATE.search(data) is not None


def _plain(record: Any) -> dict[str, Any]:
    """Return the known fields of *record* with their values as the fast way gives them."""
    if isinstance(record, Broken):
        raise record
    if not isinstance(record, dict):
        raise Broken("record is not an object", record)
    row: dict[str, Any] = {name: _text(record, name) for name in _TEXTS}
    tags, answers = record.get("tags"), record.get("answers")
    if tags is not None and not isinstance(tags, list):
        tags = [tags]
    if answers is not None and not isinstance(answers, list):
        raise Broken("`answers` is not a list", record)
    row["tags"] = None if tags is None else [_text({"tags": tag}, "tags") for tag in tags]
    row["answers"] = None if answers is None else [_answer(answer) for answer in answers]
    names = sorted({name for answer in answers or () if answer for name in answer})
    if set(names) - {*_ANSWER_TEXTS} and not set(names) & {*_ANSWER_TEXTS[:2]}:
        listed = ", ".join(f"`{name}`" for name in names)
        raise Broken(f"answers without `content` or `answer_text`, they have {listed}", record)
    return row


def _answer(answer: Any) -> dict[str, str | None]:
    if answer is None:
        return dict.fromkeys(_ANSWER_TEXTS)
    if not isinstance(answer, dict):
        raise Broken("an answer is not an object", answer)
    return {name: _text(answer, name) for name in _ANSWER_TEXTS}


def _text(record: dict[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    raise Broken(f"`{name}` is not a text", record)


def _shape(frame: pl.DataFrame, stem: str) -> pl.DataFrame:
    """Give both layouts one shape: ``id, source, title, content, tags, answers[text, likes]``."""
    import polars as pl

    def filled(*names: str) -> pl.Expr:
        return pl.coalesce(pl.when(pl.col(name) != "").then(pl.col(name)) for name in names).fill_null("")

    identity = pl.coalesce("id", "questionID", pl.format("{}_{}", pl.lit(stem), pl.col("index")))
    tags = pl.when(pl.col("tags").is_not_null()).then(pl.col("tags")).otherwise(pl.concat_list("keywords"))
    answer = pl.element().struct
    text = pl.coalesce(pl.when(answer.field(name) != "").then(answer.field(name)) for name in _ANSWER_TEXTS[:2])
    return frame.select(
        pl.format("PsyQA_{}", identity).alias("id"),
        pl.lit("PsyQA").alias("source"),
        filled("title", "question").alias("title"),
        filled("content", "description").alias("content"),
        tags.list.eval(_split_tags(pl.element())).fill_null([]).alias("tags"),
        pl.col("answers")
        .list.eval(pl.struct(text.fill_null("").alias("text"), likes(answer.field("likes")).alias("likes")))
        .fill_null([])
        .alias("answers"),
    )


def _split_tags(tags: pl.Expr) -> pl.Expr:
    single = tags.str.replace_all(_SEPARATORS, ",").str.split(",").explode().str.strip_chars()
    return single.filter(single.is_not_null() & (single != ""))


def likes(written: pl.Expr) -> pl.Expr:
    """Read a count such as ``12``, ``12赞``, ``1.2k`` or ``3万`` from a text; anything else is 0."""
    import polars as pl

    plain = written.str.normalize("NFKC")
    number = plain.str.extract(_LIKES).str.replace_all(",", "", literal=True).cast(pl.Float64, strict=False)
    unit = plain.str.extract(_LIKES_UNIT).replace_strict(
        {"k": 1e3, "K": 1e3, "千": 1e3, "w": 1e4, "W": 1e4, "万": 1e4}, default=1.0, return_dtype=pl.Float64
    )
    return (number * unit).clip(0, _MOST_LIKES).fill_null(0).cast(pl.Int64)
