"""Turn rows into token ids with a loss mask, through the model's own chat template."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import ge, optional

import forge
from forge_llm.chat_format import SHAPES, UnusableRow, load_tokenizer, messages_of, render_with_spans, shape_of
from forge_llm.train.samples import WEIGHT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import polars as pl

    from forge_llm.chat_format import Rendered

MODEL = "model"
_BATCH = 512  # rows a call of the tokenizer, so that memory stays flat


@attrs.frozen
class Tokens:
    """Render each row by the model's chat template and mask what is not to be learned.

    ``from`` names the ``model`` and one table for each part that is wanted, under the part's name.
    A column ``weight`` goes along as the sample's weight in the loss; *weight* names another, ``""`` takes none.
    ``train_on = "responses"`` learns each assistant turn with its end marker, found by rendered spans; a token
    that begins before an answer is not learned. A row longer than ``max_length`` is dropped whole, or an error.
    """

    system: str | None = None
    max_length: int = attrs.field(default=1024, validator=ge(2))
    too_long: Literal["drop", "error"] = "drop"
    train_on: Literal["responses", "all"] = "responses"
    rows: int | None = attrs.field(default=None, validator=optional(ge(1)))
    weight: str = WEIGHT

    def make(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> None:
        """Write one table a part with ``{id, input_ids, loss_mask, n_tokens, n_trained}`` and ``stats.json``.

        A part whose rows have weights gets the column ``weight`` too.
        """
        tables = {name: artifact for name, artifact in inputs.items() if name != MODEL}
        if MODEL not in inputs or not tables:
            raise forge.StepError(
                "token ids need a `model` and at least one table",
                hint='from = { model = "base", train = "split.train", eval = "split.eval" }',
            )
        tokenizer = load_tokenizer(inputs[MODEL].path)
        stats: dict[str, Any] = {name: self._part(name, tables[name], tokenizer, out, run) for name in sorted(tables)}
        stats["template"] = _digest(tokenizer.chat_template)
        (out / "stats.json").write_text(json.dumps(stats, indent=2) + "\n", encoding="utf-8")

    def preflight(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Notice]:
        """Look at template, masks and lengths on sample rows."""
        from forge_llm.preflight.masks import look

        return look(self, inputs, out, run)

    def _part(self, name: str, table: forge.Artifact, tokenizer: Any, out: Path, run: forge.Run) -> dict[str, Any]:
        import polars as pl

        frame = table.rows().collect()
        if self.rows is not None:
            frame = frame.head(self.rows)
        if frame.is_empty():
            raise forge.StepError(f"table `{name}` has no rows", hint="look at what the steps before it dropped")
        if shape_of(frame.columns) is None:
            raise forge.StepError(
                f"table `{name}` has none of the columns that make a chat: {'; '.join(f'`{s}`' for s in SHAPES)}",
                hint=f"it has {', '.join(f'`{column}`' for column in frame.columns)}",
            )
        weigh = self._weights(frame, name)
        done: list[dict[str, Any]] = []
        straddling = 0
        for start in range(0, frame.height, _BATCH):
            chats = self._rendered(frame.slice(start, _BATCH), start, tokenizer, run)
            encoded = tokenizer(
                [rendered.text for _, _, rendered in chats], add_special_tokens=False, return_offsets_mapping=True
            )
            for index, (place, key, rendered) in enumerate(chats):
                offsets = encoded["offset_mapping"][index]
                mask, across = self._mask(offsets, rendered)
                straddling += across
                row = {"id": key, "input_ids": encoded["input_ids"][index], "loss_mask": mask}
                if weigh and not _is_weight(weigh[place]):
                    run.drop("its weight is no number above 0", example=key)
                elif self._fits(row, name, run):
                    row |= {WEIGHT: weigh[place]} if weigh else {}
                    done.append(row | {"n_tokens": len(mask), "n_trained": sum(mask)})
            run.progress(min(start + _BATCH, frame.height), frame.height, part=name)
        if not done:
            raise forge.StepError(f"no row of table `{name}` can be learned from: all {frame.height} were dropped")
        if straddling:
            run.warn(f"part `{name}`: {straddling} tokens hold the end of a prompt and the start of an answer")
        schema: dict[str, Any] = {
            "id": pl.String,
            "input_ids": pl.List(pl.Int32),
            "loss_mask": pl.List(pl.Boolean),
            "n_tokens": pl.Int32,
            "n_trained": pl.Int32,
        } | ({WEIGHT: pl.Float64} if weigh else {})
        forge.write_rows(pl.DataFrame(done, schema=schema), out / name)
        return _statistics(done, frame.height, straddling)

    def _rendered(self, frame: Any, start: int, tokenizer: Any, run: forge.Run) -> list[tuple[int, str, Rendered]]:
        chats = []
        for index, row in enumerate(frame.iter_rows(named=True), start):
            key = str(row.get("id") if row.get("id") is not None else index)
            try:
                chats.append((index, key, render_with_spans(tokenizer, messages_of(row, self.system))))
            except UnusableRow as reason:
                run.drop(str(reason), example=key)
        return chats

    def _mask(self, offsets: list[tuple[int, int]], rendered: Rendered) -> tuple[list[bool], int]:
        """Mark the tokens that lie within an answer's span; also count those that only begin before one."""
        if self.train_on == "all":
            return [True] * len(offsets), 0
        spans = rendered.spans
        mask = [any(start <= a and b <= end for start, end in spans) for a, b in offsets]
        across = sum(any(a < start < b for start, _ in spans) for a, b in offsets)
        return mask, across

    def _weights(self, frame: pl.DataFrame, name: str) -> list[float | None]:
        """Return the rows' weights; none where the table has no such column."""
        import polars as pl

        if self.weight not in frame.columns:
            if self.weight not in ("", WEIGHT):
                raise forge.StepError(
                    f"table `{name}` has no column `{self.weight}`, which `weight` names",
                    hint=f"it has {', '.join(f'`{column}`' for column in frame.columns)}",
                )
            return []
        if not frame.schema[self.weight].is_numeric():
            raise forge.StepError(
                f"column `{self.weight}` of table `{name}` is taken for weights and holds no numbers",
                hint='`weight = ""` leaves it alone',
            )
        return frame[self.weight].cast(pl.Float64).to_list()

    def _fits(self, row: dict[str, Any], name: str, run: forge.Run) -> bool:
        length = len(row["input_ids"])
        if length > self.max_length:
            if self.too_long == "error":
                raise forge.StepError(
                    f"row `{row['id']}` of table `{name}` has {length} tokens, `max_length` is {self.max_length}",
                    hint='raise `max_length`, shorten the rows, or leave them out: `too_long = "drop"`',
                )
            run.drop("longer than `max_length`", example=row["id"])
            return False
        if not any(row["loss_mask"][1:]):  # nothing comes before the first token, so it is never predicted
            run.drop("nothing to learn: no answer in the row", example=row["id"])
            return False
        return True


def _statistics(done: list[dict[str, Any]], read: int, straddling: int) -> dict[str, Any]:
    tokens = sum(row["n_tokens"] for row in done)
    trained = sum(row["n_trained"] for row in done)
    statistics = {
        "rows": len(done),
        "dropped": read - len(done),
        "tokens": tokens,
        "trained_tokens": trained,
        "trained_share": round(trained / tokens, 4),
        "longest": max(row["n_tokens"] for row in done),
        "mean": round(tokens / len(done), 1),
        "straddling": straddling,
    }
    if WEIGHT in done[0]:
        counts = Counter(row[WEIGHT] for row in done)
        statistics["weights"] = {f"{weight:g}": counts[weight] for weight in sorted(counts)}
    return statistics


def _is_weight(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _digest(text: str) -> str:
    from blake3 import blake3

    return str(blake3(text.encode()).hexdigest())
