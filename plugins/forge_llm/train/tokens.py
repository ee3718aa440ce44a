"""Turn rows into token ids with a loss mask, through the model's own chat template."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import ge, optional

import forge
from forge_llm.chat_format import load_tokenizer

from . import masks
from .samples import WEIGHT
from .token_part import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MODEL = "model"


@attrs.frozen
class Tokens:
    """Render each row by the model's chat template and mask what is not to be learned.

    ``from`` names the ``model`` and one table for each part that is wanted, under the part's name.
    ``train_on = "responses"`` learns each assistant turn with its end marker, found by rendered spans; ``"last"`` the
    last one alone, ``"all"`` every token. A token that begins before an answer is not learned.
    ``column`` takes plain texts instead of chats: no template, the token ``end`` behind each (by default the
    tokenizer's end-of-text token), and every token learned, so ``train_on = "all"`` must say so.

    ``too_long`` says what becomes of a row of more than ``max_length`` tokens: it is dropped, or an error, or a chat
    is ``split`` between an answer and the next question and a text into windows, or it loses its end
    (``truncate``). All of it is counted.
    A row whose own text holds a special token of the model (``<|im_end|>``) would write the template's marks itself:
    it is kept with a warning, dropped, or an error (``special_text``).
    A column ``weight`` goes along as the sample's weight in the loss; *weight* names another, ``""`` takes none.
    """

    system: str | None = None
    max_length: int = attrs.field(default=1024, validator=ge(2))
    too_long: Literal["drop", "split", "error", "truncate"] = "drop"
    train_on: masks.Learned = "responses"
    column: str | None = None
    end: str | None = None
    rows: int | None = attrs.field(default=None, validator=optional(ge(1)))
    weight: str = WEIGHT
    special_text: Literal["keep", "drop", "error"] = "keep"

    def __attrs_post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.column is not None and self.train_on != "all":
            raise ValueError('`column` takes plain texts, of which every token is learned: write `train_on = "all"`')
        if self.column is None and self.end is not None:
            raise ValueError("`end` belongs to the plain texts of a `column`; chats end as their template says")
        if self.column is not None and self.system is not None:
            raise ValueError("`system` belongs to chats; the plain texts of a `column` have no roles")
        if self.column is not None and self.special_text != "keep":
            raise ValueError("`special_text` belongs to chats; the plain texts of a `column` may hold any token")
        if self.too_long == "split" and self.train_on == "last":
            raise ValueError('`too_long = "split"` learns the answers of each part, `train_on = "last"` only one a row')

    def make(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> None:
        """Write one table a part with ``{id, input_ids, loss_mask, n_tokens, n_trained}`` and ``stats.json``.

        A part whose rows have weights gets the column ``weight`` too; `sample.json` beside the rows has the first of
        them as text.
        """
        tables = {name: artifact for name, artifact in inputs.items() if name != MODEL}
        if MODEL not in inputs or not tables:
            raise forge.StepError(
                "token ids need a `model` and at least one table",
                hint='from = { model = "base", train = "split.train", eval = "split.eval" }',
            )
        tokenizer = load_tokenizer(inputs[MODEL].path, chat=self.column is None)
        stats: dict[str, Any] = {}
        for name in sorted(tables):
            stats[name] = Part(self, name, tokenizer, run).make(tables[name], out / name)
        if self.column is None:
            stats["template"] = _digest(tokenizer.chat_template)
        (out / "stats.json").write_text(json.dumps(stats, indent=2) + "\n", encoding="utf-8")

    def preflight(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Notice]:
        """Look at template, masks and lengths on sample rows."""
        from forge_llm.preflight.masks import look

        return look(self, inputs, out, run)


def _digest(text: str) -> str:
    from blake3 import blake3

    return str(blake3(text.encode()).hexdigest())
