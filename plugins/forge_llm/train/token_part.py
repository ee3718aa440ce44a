"""One table on its way to token ids: what becomes of each row, counted."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge_llm.chat_format import MAP_ROLES, SHAPES, UNKNOWN_ROLE, UnusableRow, messages_of, shape_of
from forge_llm.spans import Template
from forge_llm.words import listed, meant

from . import masks
from .sample import SAMPLE, sample_of
from .samples import WEIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from .masks import Encoded
    from .tokens import Tokens

_BATCH = 512  # rows a call of the tokenizer, so that memory stays flat
_LITTLE = 0.01  # of all tokens: who learns less has most likely masked the wrong ones
SPECIAL = "special tokens of the model in their own text"
_ELSEWHERE = {
    ("prompt", "completion"): (
        'name them in the source: `columns = { instruction = "prompt", output = "completion" }` of `files.jsonl`'
    ),
    ("conversations",): (
        '`text.dialogue` makes chats of them: `form = "turns"`, `column = "conversations"`, and for ShareGPT '
        '`role = "from"`, `text = "value"`'
    ),
}
"""Columns of other tools' chats, and how they become ours."""
_SHOWN = 8  # rows that `forge show` can print with their mask


@attrs.define
class Part:
    """Make one part, and count what becomes of its rows."""

    step: Tokens
    name: str
    tokenizer: Any
    run: forge.Run
    template: Template | None = None
    special: re.Pattern[str] | None = None
    first_special: str = ""
    done: list[dict[str, Any]] = attrs.Factory(list)
    shown: list[dict[str, Any]] = attrs.Factory(list)
    drops: Counter[str] = attrs.Factory(Counter)
    counts: Counter[str] = attrs.Factory(Counter)

    def make(self, table: forge.Artifact, out: Path) -> dict[str, Any]:
        """Write the part's rows and return its statistics."""
        frame = table.rows().collect()
        if self.step.rows is not None:
            frame = frame.head(self.step.rows)
        self._check(frame)
        weigh = self._weights(frame)
        for start in range(0, frame.height, _BATCH):
            rows = list(frame.slice(start, _BATCH).iter_rows(named=True))
            keys = [str(r["id"] if r.get("id") is not None else start + at) for at, r in enumerate(rows)]
            for place, samples in (self._texts if self.template is None else self._chats)(rows, keys):
                weight = weigh[start + place] if weigh else 1.0
                if weight is None or not (math.isfinite(weight) and weight > 0):
                    self._drop("its weight is no number above 0", keys[place])
                    continue
                for number, sample in enumerate(samples, 1):
                    key = keys[place] if len(samples) == 1 else f"{keys[place]}#{number}"
                    self._keep(key, sample, {WEIGHT: weight} if weigh else {})
            self.run.progress(min(start + _BATCH, frame.height), frame.height, part=self.name)
        self._report(frame.height)
        write_tokens(self.done, out, weighted=bool(weigh))
        text = json.dumps(self.shown, ensure_ascii=False, indent=1)
        (out / SAMPLE).write_text(text + "\n", encoding="utf-8")
        return self._statistics(frame.height)

    def _check(self, frame: pl.DataFrame) -> None:
        """Refuse a table that has no rows, or not the columns."""
        if frame.is_empty():
            raise forge.StepError(f"table `{self.name}` has no rows", hint="look at what the steps before it dropped")
        column = self.step.column
        if column is not None:
            if column not in frame.columns:
                raise forge.StepError(
                    f"table `{self.name}` has no column `{column}`, which `column` names",
                    hint=meant(column, frame.columns),
                )
        elif shape_of(frame.columns) is None:
            raise forge.StepError(
                f"table `{self.name}` has none of the columns that make a chat: {'; '.join(f'`{s}`' for s in SHAPES)}",
                hint=_shape_hint(frame.columns),
            )
        else:
            self.template = _template_of(self.tokenizer)
            self.special = _special_tokens(self.tokenizer)
            if not self.template.closing:
                self.run.warn("the chat template writes no marker behind an answer: the model won't learn to stop")

    def _chats(self, rows: Sequence[Mapping[str, Any]], keys: list[str]) -> list[tuple[int, list[Encoded]]]:
        """Return the samples of each row that has any, by its place."""
        assert self.template is not None  # noqa: S101 - it was looked at in `_check`
        places, chats, said = [], [], []
        for place, row in enumerate(rows):
            try:
                messages = messages_of(row, self.step.system)
                self._look_for_special(messages, keys[place])
                chats.append(self.template.render(messages))
            except UnusableRow as reason:
                self._drop(str(reason), keys[place])
            else:
                places.append(place)
                said.append(messages)
        found = masks.encode_chats(self.tokenizer, chats, self.step.train_on) if chats else []
        return [
            (place, self._fitted(sample, keys[place], messages))
            for place, sample, messages in zip(places, found, said, strict=True)
        ]

    def _look_for_special(self, messages: masks.Messages, key: str) -> None:
        """Count a row whose text the tokenizer would take for marks of the template, or do as the step says."""
        found = (self.special.search(message["content"]) for message in messages) if self.special else ()
        mark = next((each[0] for each in found if each), None)
        if mark is None:
            return
        if self.step.special_text == "error":
            raise forge.StepError(
                f"row `{key}` of table `{self.name}` holds the special token `{mark}` in its own text",
                hint='take it out in a step before, or leave such rows out: `special_text = "drop"`',
            )
        if self.step.special_text == "drop":
            raise UnusableRow("a special token of the model in its own text")
        self.counts["special_text"] += 1
        self.first_special = self.first_special or f"row `{key}` holds `{mark}`"

    def _texts(self, rows: Sequence[Mapping[str, Any]], keys: list[str]) -> list[tuple[int, list[Encoded]]]:
        texts = [row[str(self.step.column)] for row in rows]
        for text, key in zip(texts, keys, strict=True):
            if not _is_text(text):
                self._drop("no text", key)
        places = [place for place, text in enumerate(texts) if _is_text(text)]
        found = masks.encode_texts(self.tokenizer, [texts[p] for p in places], self._end()) if places else []
        return [(place, self._fitted(sample, keys[place])) for place, sample in zip(places, found, strict=True)]

    def _end(self) -> int:
        """Return the token that ends a text."""
        mark = self.step.end if self.step.end is not None else self.tokenizer.eos_token
        known = self.tokenizer.get_vocab()
        if mark not in known:
            what = f"`end` names `{mark}`, which is no token of the model" if mark else "the model has no end token"
            marks = listed(sorted(str(token) for token in self.tokenizer.all_special_tokens))
            raise forge.StepError(what, hint=f"its special tokens are {marks}")
        return int(known[mark])

    def _fitted(self, sample: Encoded, key: str, messages: masks.Messages | None = None) -> list[Encoded]:
        """Return the row's samples: one, or what the policy makes of one that is too long."""
        most, length = self.step.max_length, len(sample.ids)
        if length <= most:
            return [sample]
        if self.step.too_long == "error":
            raise forge.StepError(
                f"row `{key}` of table `{self.name}` has {length} tokens, `max_length` is {most}",
                hint='raise `max_length`, or say what becomes of such rows: `too_long = "drop"` or `"split"`',
            )
        if self.step.too_long == "truncate":
            self.counts["truncated"] += 1
            self.counts["tokens_cut"] += length - most
            return [sample.part(0, most)]
        if self.step.too_long == "drop":
            self._drop("longer than `max_length`", key)
            return []
        if messages is None:
            parts = list(masks.windows(sample, most))
        else:
            try:
                parts, lost = masks.split_chat(messages, self._one, most)
            except UnusableRow as reason:
                self._drop(str(reason), key)
                return []
            self.counts["exchanges_lost"] += lost
        if not parts:
            self._drop("longer than `max_length` between one question and the next", key)
            return []
        self.counts["split"] += 1
        self.counts["parts"] += len(parts)
        return parts

    def _one(self, messages: masks.Messages) -> Encoded:
        assert self.template is not None  # noqa: S101 - only chats come here
        return masks.encode_chats(self.tokenizer, [self.template.render(messages)], self.step.train_on)[0]

    def _keep(self, key: str, sample: Encoded, weight: Mapping[str, float]) -> None:
        if not sample.is_learned:
            self._drop("nothing to learn: no answer in the row", key)
            return
        self.counts["straddling"] += sample.straddling
        trained = sum(sample.mask)
        self.done.append(
            {
                "id": key,
                "input_ids": sample.ids,
                "loss_mask": sample.mask,
                "n_tokens": len(sample.ids),
                "n_trained": trained,
                **weight,
            }
        )
        if len(self.shown) < _SHOWN:
            self.shown.append(sample_of(key, sample, self.tokenizer))

    def _drop(self, reason: str, key: str) -> None:
        self.drops[reason] += 1
        self.run.drop(reason, example=f"row {key}")

    def _report(self, read: int) -> None:
        """Refuse a part that is empty, and warn of what nobody wants."""
        if not self.done:
            reasons = "".join(f"\n  {count} × {reason}" for reason, count in self.drops.most_common())
            raise forge.StepError(
                f"no row of table `{self.name}` can be learned from: all {read} were dropped{reasons}",
                hint=MAP_ROLES
                if all(reason.startswith(UNKNOWN_ROLE) for reason in self.drops)
                else '`max_length`, `too_long = "split"` and the columns of the rows decide about it',
            )
        if self.counts["straddling"]:
            self.run.warn(
                f"part `{self.name}`: {self.counts['straddling']} tokens hold the end of a prompt and the start of an "
                "answer"
            )
        if self.counts["special_text"]:
            self.run.warn(
                f"part `{self.name}`: {self.counts['special_text']} rows hold {SPECIAL}, which end turns or open them: "
                f'{self.first_special} first; `special_text = "drop"` leaves them out'
            )
        if self.counts["truncated"]:
            self.run.warn(f"part `{self.name}`: {self.counts['truncated']} rows lost their end")
        if self.counts["exchanges_lost"]:
            self.run.warn(
                f"part `{self.name}`: {self.counts['exchanges_lost']} questions with their answers were longer than "
                "`max_length` alone and are lost from rows that were split"
            )
        share = sum(row["n_trained"] for row in self.done) / sum(row["n_tokens"] for row in self.done)
        if share < _LITTLE:
            self.run.warn(f"part `{self.name}`: only {share:.2%} of the tokens are learned: see `forge show`")

    def _weights(self, frame: pl.DataFrame) -> list[float | None]:
        """Return the rows' weights; none where the table has no such column."""
        import polars as pl

        column = self.step.weight
        if column not in frame.columns:
            if column not in ("", WEIGHT):
                raise forge.StepError(
                    f"table `{self.name}` has no column `{column}`, which `weight` names",
                    hint=meant(column, frame.columns),
                )
            return []
        if not frame.schema[column].is_numeric():
            raise forge.StepError(
                f"column `{column}` of table `{self.name}` is taken for weights and holds no numbers",
                hint='`weight = ""` leaves it alone',
            )
        return frame[column].cast(pl.Float64).to_list()

    def _statistics(self, read: int) -> dict[str, Any]:
        tokens = sum(row["n_tokens"] for row in self.done)
        trained = sum(row["n_trained"] for row in self.done)
        statistics: dict[str, Any] = {
            "rows": len(self.done),
            "read": read,
            "dropped": self.drops.total(),
            "tokens": tokens,
            "trained_tokens": trained,
            "trained_share": round(trained / tokens, 4),
            "longest": max(row["n_tokens"] for row in self.done),
            "mean": round(tokens / len(self.done), 1),
            "straddling": self.counts["straddling"],
        }
        if self.drops:
            statistics["reasons"] = dict(self.drops.most_common())
        statistics |= {
            name: self.counts[name]
            for name in ("split", "parts", "exchanges_lost", "truncated", "tokens_cut", "special_text")
            if self.counts[name]
        }
        if WEIGHT in self.done[0]:
            counts = Counter(row[WEIGHT] for row in self.done)
            statistics["weights"] = {f"{weight:g}": counts[weight] for weight in sorted(counts)}
        return statistics


def _template_of(tokenizer: Any) -> Template:
    """Return the model's template; raise where it can't render one question and its answer."""
    try:
        return Template.of(tokenizer)
    except UnusableRow as error:
        raise forge.StepError(
            f"the model's chat template can't render a question and its answer: {error.__cause__ or error}",
            hint="mend the `chat_template.jinja` beside the tokenizer, or name the template of the model's family",
        ) from error


def _special_tokens(tokenizer: Any) -> re.Pattern[str] | None:
    """Return what finds a text that the tokenizer takes for a special token; None where it has none."""
    marks = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    marks |= {str(token) for token in tokenizer.all_special_tokens}
    return re.compile("|".join(sorted(map(re.escape, marks - {""}), key=len, reverse=True))) if marks - {""} else None


def write_tokens(rows: Sequence[Mapping[str, Any]], folder: Path, *, weighted: bool) -> None:
    """Write a table as trainers read it."""
    import polars as pl

    schema: dict[str, Any] = {
        "id": pl.String,
        "input_ids": pl.List(pl.Int32),
        "loss_mask": pl.List(pl.Boolean),
        "n_tokens": pl.Int32,
        "n_trained": pl.Int32,
    } | ({WEIGHT: pl.Float64} if weighted else {})
    forge.write_rows(pl.DataFrame(rows, schema=schema), folder)


def _shape_hint(columns: Sequence[str]) -> str:
    """Say how a table without a chat's columns may come to them."""
    wanted = [name for shape in SHAPES for name in shape.split(", ") if name not in columns]
    for known, hint in _ELSEWHERE.items():
        if set(known) <= set(columns):
            return hint
    for name in columns:
        close = meant(name, wanted)
        if close.startswith("did you mean"):
            return f"{close} The table calls a column `{name}`"
    if "text" in columns:
        return 'plain texts are learned with `column = "text"` and `train_on = "all"`'
    return f"it has {listed(columns)}"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
