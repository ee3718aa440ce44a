"""Make training samples of records and their series: for ChatTS, or with the series as text."""

from __future__ import annotations

import abc
import json
import re
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import ge, min_len

import forge
from forge_series.answers import Outcome, Rules, UnusableAnswer, frame_of, objects_of
from forge_series.points import nested, records_of, row_map
from forge_series.rendering import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import polars as pl

MARK = "<ts><ts/>"
_IMAGE = re.compile(r"<image>|<ts><ts/>")
_COLUMNS = ("file", "index", "images", "system", "prompt", "answer", "window", "series")
_REASONS = "__reason__"
_GATHERED = "record now part of its series' sample"
_UNTOUCHED = "window that no interval touches"


@attrs.frozen(kw_only=True)
class _Samples(abc.ABC):
    """Hold how answers are read; the classes below say what becomes of prompts and series."""

    answers: Literal["anomalies", "text"] = "anomalies"
    gather: Literal["series", "record"] = "series"
    entries: str = attrs.field(default="detected_anomalies", validator=min_len(1))
    interval: str = attrs.field(default="interval", validator=min_len(1))
    nothing: tuple[str, ...] = ("无异常",)
    whole_series: Literal["keep", "drop"] = "drop"
    between: Literal["nearest", "drop"] = "nearest"
    untouched: Literal["keep", "drop"] = "drop"
    form: Literal["object", "list"] = "object"

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Make a sample of each group of records, and mark the records that are in it or can't be."""
        import polars as pl

        frame = rows.collect()
        if missing := [name for name in _COLUMNS if name not in frame.columns]:
            raise forge.StepError(f"the rows have no column `{missing[0]}`", hint="`series.join` makes them")
        made: list[dict[str, Any]] = []
        for group in self._groups(records_of(frame)):
            made += self._samples(group)
        tallies = sorted({name for sample in made for name in sample["counts"]})
        reasons = sorted({sample["reason"] for sample in made if sample["reason"]})
        columns = {"id": pl.String, "series": pl.String, "window": pl.UInt32, **self._schema()}
        table = pl.DataFrame(
            {
                name: nested([s.get(name) or [] for s in made])
                if kind == pl.List(pl.List(pl.Float64))
                else pl.Series([s.get(name) for s in made], dtype=kind)
                for name, kind in columns.items()
            }
        ).with_columns(
            pl.Series(_REASONS, [sample["reason"] for sample in made], dtype=pl.String),
            *(pl.Series(f"__{n}__", [s["counts"].get(n, 0) for s in made], dtype=pl.Int64) for n in tallies),
        )
        marked = table.lazy()
        if reasons:
            marked = forge.drop(marked, {reason: pl.col(_REASONS) == reason for reason in reasons})
        counted = forge.tally(marked, {name: pl.col(f"__{name}__") for name in tallies})
        return counted.drop(_REASONS, *(f"__{name}__" for name in tallies))

    def _groups(self, records: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """Return the records that share question, series and window, in the order of their first."""
        groups: dict[Any, list[dict[str, Any]]] = {}
        for place, record in enumerate(records):
            shown = tuple((one["file"], one["column"]) for image in record["series"] for one in image)
            said = record["answer"] if self.answers == "text" else None  # texts can't be made one
            key = (record["system"], record["prompt"], shown, record["window"], said)
            groups.setdefault(key if self.gather == "series" else place, []).append(record)
        return list(groups.values())

    def _samples(self, group: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return one sample, and the group's other records with the reason why they aren't one."""
        made: list[dict[str, Any]] = []
        objects: list[dict[str, Any]] = []
        used: list[dict[str, Any]] = []
        for record in group:
            try:
                objects += self._read(record)
                used.append(record)
            except UnusableAnswer as why:
                made.append(_marked(record, str(why)))
        if not used:
            return made
        try:
            sample = self._sample(used[0], objects)
        except UnusableAnswer as why:
            return made + [_marked(record, str(why)) for record in used]
        seen = {used[0]["answer"]}
        for record in used[1:]:
            made.append(_marked(record, "exact repeat of a record" if record["answer"] in seen else _GATHERED))
            seen.add(record["answer"])
        return [sample, *made]

    def _read(self, record: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the objects of one answer, each tried alone, so that one bad record spoils no other."""
        if "<ts>" in record["answer"] or "<image>" in record["answer"]:
            raise UnusableAnswer("mark of a series in the answer")
        if self.answers == "text":
            return []
        objects = objects_of(record["answer"])
        self._outcome(record, objects)
        return objects

    def _sample(self, record: dict[str, Any], objects: list[dict[str, Any]]) -> dict[str, Any]:
        counts: dict[str, int] = {}
        output, reason = record["answer"], None
        if self.answers == "anomalies":
            outcome = self._outcome(record, objects)
            counts = outcome.counts
            if outcome.had_intervals and not outcome.entries and self.untouched == "drop":
                reason = _UNTOUCHED
            listed: Any = outcome.entries
            whole = {**frame_of(objects, self.entries), self.entries: listed}
            output = json.dumps(whole if self.form == "object" else listed, ensure_ascii=False, allow_nan=False)
        files = _names(record)
        name = files + (f"#{record['window']}" if record["window"] else "")
        said = self._said(record, [[one["values"] for one in image] for image in record["series"]], output)
        return {"id": name, "series": files, "window": record["window"], "counts": counts, "reason": reason, **said}

    def _outcome(self, record: dict[str, Any], objects: list[dict[str, Any]]) -> Outcome:
        import numpy as np

        shown = [one for image in record["series"] for one in image]
        maps = [row_map(one["low"], one["high"], len(one["values"])) for one in shown]
        (low, high), rows = maps[0], shown[0]["rows"]
        rules = Rules(self.entries, self.interval, self.nothing, self.whole_series, self.between)
        outcome = rules.outcome(objects, low, high, rows)
        alike = all(np.array_equal(low, other[0]) and np.array_equal(high, other[1]) for other in maps[1:])
        if outcome.had_intervals and not alike:
            # an interval can't be moved into several series that kept different rows
            raise UnusableAnswer("interval over series that keep different rows")
        return outcome

    @abc.abstractmethod
    def _schema(self) -> dict[str, Any]:
        """Return the columns of a sample and their types."""

    @abc.abstractmethod
    def _said(self, record: dict[str, Any], series: Sequence[Sequence[pl.Series]], output: str) -> dict[str, Any]:
        """Return a sample's columns, given the values of each picture's series and the answer."""


def _marked(record: dict[str, Any], reason: str) -> dict[str, Any]:
    place = f"{record['file']}:{record['index']}"
    return {"id": place, "series": _names(record), "window": record["window"], "reason": reason, "counts": {}}


def _names(record: dict[str, Any]) -> str:
    return "+".join(dict.fromkeys(one["file"] for image in record["series"] for one in image))


def _placed(prompt: str, marks: Sequence[str]) -> str:
    """Put *marks* where the prompt shows its pictures, or before it where it shows none."""
    places = _IMAGE.findall(prompt)
    if not places:
        return "\n".join([*marks, prompt])
    if len(places) != len(marks):
        raise UnusableAnswer("prompt shows more or fewer pictures than the record has")
    rest = iter(marks)
    return _IMAGE.sub(lambda _: next(rest), prompt)


@attrs.frozen(kw_only=True)
class ChatTS(_Samples):
    """Make ``input, output, timeseries`` as ChatTS is trained on: a ``<ts><ts/>`` in the input for each series.

    Answers are JSON: an object with the list *entries*, several objects joined by commas, or entries alone.
    Each entry's *interval* counts rows of the file, both ends included, and is moved to the points that were kept, in
    the entry's texts too where they spell out both ends. One that lies *between* two points gets the ``nearest``, or
    is dropped; one outside of a window is left out, and a window that so loses all is dropped unless *untouched* says
    ``keep``. Entries whose type is one of *nothing* are taken out; *whole_series* says whether other entries without
    an interval stay. *gather* makes one sample of all records that ask the same of the same series, each entry once:
    a ``record`` of its own for each anomaly would teach different answers to one question.
    *form* ``object`` writes the object, ``list`` the entries alone. With *answers* ``text`` answers stay as they are,
    and must not speak of places in the series; only exact repeats are then one sample.
    """

    def _schema(self) -> dict[str, Any]:
        import polars as pl

        return {"input": pl.String, "output": pl.String, "timeseries": pl.List(pl.List(pl.Float64))}

    def _said(self, record: dict[str, Any], series: Sequence[Sequence[pl.Series]], output: str) -> dict[str, Any]:
        prompt = _placed(record["prompt"], [MARK * len(image) for image in series])
        text = f"{record['system']}\n{prompt}" if record["system"] else prompt
        lists = [values for image in series for values in image]
        if text.count("<ts>") != len(lists):
            raise UnusableAnswer("mark of a series in the system text")
        return {"input": text, "output": output, "timeseries": lists}


@attrs.frozen(kw_only=True)
class Text(_Samples):
    """Make ``instruction, input, output`` with the series written out as numbers, for models that read text alone.

    Answers are treated as by `series.chatts`. ``input`` holds a line of numbers for each series: ``rounded`` to
    *digits* significant digits, or as ``levels``, whole numbers from 0 to *levels* between the series' least and
    greatest value, which are named before them. A series of more than *points* points is dropped: reduce it before.
    """

    points: int = attrs.field(default=256, validator=ge(1))
    numbers: Literal["rounded", "levels"] = "rounded"
    digits: int = attrs.field(default=4, validator=ge(1))
    levels: int = attrs.field(default=99, validator=ge(1))

    def _schema(self) -> dict[str, Any]:
        import polars as pl

        return dict.fromkeys(("system", "instruction", "input", "output"), pl.String)

    def _said(self, record: dict[str, Any], series: Sequence[Sequence[pl.Series]], output: str) -> dict[str, Any]:
        lists = [values for image in series for values in image]
        if any(len(values) > self.points for values in lists):
            raise UnusableAnswer(f"series of more than {self.points} points")
        lines = [as_text(values, self.digits, self.levels if self.numbers == "levels" else None) for values in lists]
        question = _placed(record["prompt"], [""] * len(series)).strip()
        return {"system": record["system"], "instruction": question, "input": "\n".join(lines), "output": output}
