"""State what is so or not of a GGUF file beside its model: template, tokenizer, end of a reply, prompt ids."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import attrs

from forge_llm.check.figures import SAME
from forge_llm.check.local_model import shared_start
from forge_llm.model.gguf_header import read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from forge_llm.check.local_model import LocalModel

TOKENS, MERGES, CUTS = "tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.pre"
_EXCERPT = 40


@attrs.define
class Facts:
    """Collect what is so (True), is not (False, with the first reason), or can't be said (None)."""

    values: dict[str, bool | None] = attrs.field(factory=lambda: dict.fromkeys(SAME, True))
    details: dict[str, str] = attrs.Factory(dict)

    def differ(self, name: str, detail: str) -> None:
        """Say that something is not so; the first reason stays."""
        if self.values[name] is not False:
            self.values[name], self.details[name] = False, detail

    def leave(self, name: str, detail: str) -> None:
        """Say that something can't be told."""
        self.values[name], self.details[name] = None, detail


@attrs.frozen
class Known:
    """Hold what is known of a model's way from text to tokens, without a row's text.

    ``template`` and ``tokenizer`` are digests; ``ends`` are the tokens that end a reply, the first is the file's own.
    """

    template: str
    tokenizer: str
    ends: tuple[int, ...]


def know(model: LocalModel, ends: Sequence[int]) -> Known:
    """Take down what a file says of itself, once it was compared with its model."""
    header = read_header(model.path)
    return Known(digest_of(model.template), digest_of([header.get(key) for key in (TOKENS, MERGES, CUTS)]), tuple(ends))


def compare_known(model: LocalModel, known: Known, facts: Facts) -> None:
    """Compare a file with what was taken down of it."""
    now = know(model, known.ends)
    if now.template != known.template:
        facts.differ("template_equal", "the template in the file is not the one that was checked")
    if now.tokenizer != known.tokenizer:
        facts.differ("tokenizer_equal", "the tokens in the file are not those that were checked")
    if model.end_token != known.ends[0]:
        facts.differ("end_token_equal", f"the file ends at {model.end_token}, the model at {known.ends[0]}")


def compare_header(model: LocalModel, folder: Path, tokenizer: Any, facts: Facts) -> None:
    """Compare template, tokens, merges and end token with the tokenizer's."""
    template = tokenizer.chat_template
    if model.template != template:
        place = shared_start(model.template or "", template)
        facts.differ(
            "template_equal",
            f"from character {place} the file has {_quoted(model.template or '', place)}, "
            f"the model {_quoted(template, place)}",
        )
    if model.end_token != tokenizer.eos_token_id:
        facts.differ(
            "end_token_equal",
            f"the file ends at {model.end_token} `{token_name(tokenizer, model.end_token)}`, "
            f"the model at {tokenizer.eos_token_id} `{tokenizer.eos_token}`",
        )
    header = read_header(model.path)
    vocabulary = {index: text for text, index in tokenizer.get_vocab().items()}
    for index, text in enumerate(header.get(TOKENS, ())):
        known = vocabulary.get(index)
        if known is not None and text != known and text != known.replace("▁", " "):
            facts.differ("tokenizer_equal", f"token {index}: the file has `{text}`, the model `{known}`")
            break
    absent = [index for index in vocabulary if index >= len(header.get(TOKENS, ()))]
    if absent:
        facts.differ("tokenizer_equal", f"token {min(absent)} `{vocabulary[min(absent)]}` is missing in the file")
    wanted, found = _merges(folder), header.get(MERGES)
    if wanted and found and wanted != found and not any(" " in part for pair in _pairs(folder) for part in pair):
        place = shared_start(wanted, found)
        has = [f"`{merges[place]}`" if place < len(merges) else "none" for merges in (found, wanted)]
        facts.differ("tokenizer_equal", f"merge {place}: the file has {has[0]}, the model {has[1]}")


def compare_ids(
    row: int, texts: tuple[str, str], ids: tuple[Sequence[int], Sequence[int]], name: Callable[[int], str], facts: Facts
) -> None:
    """Compare one text, as transformers and as the file render and cut it."""
    wanted, found = ids
    if list(wanted) == list(found):
        return
    place = shared_start(list(wanted), list(found))

    def named(tokens: Sequence[int]) -> str:
        return f"{tokens[place]} `{name(tokens[place])}`" if place < len(tokens) else "the end"

    detail = f"row {row}, token {place}: transformers has {named(wanted)}, the file {named(found)}"
    if texts[0] == texts[1]:
        facts.differ("tokenizer_equal", f"{detail}, for the same text")
    facts.differ("token_ids_equal", detail)


def compare_end(row: int, token: int, model: LocalModel, name: Callable[[int], str], facts: Facts) -> None:
    """Say where the token that ends an answer, as it was learned, ends none in the file."""
    if not model.ends(token):
        facts.differ(
            "end_token_equal",
            f"row {row}: the answer ends with {token} `{name(token)}`, after which the file talks on",
        )


def token_name(tokenizer: Any, token: int) -> str:
    """Return a token's text as a tokenizer of transformers gives it."""
    return str(tokenizer.decode([token])) if 0 <= token < len(tokenizer) else "none"


def _quoted(text: str, place: int) -> str:
    return f"`{text[place : place + _EXCERPT]}`" if text[place:] else "nothing"


def _pairs(folder: Path) -> list[tuple[str, ...]]:
    path = folder / "tokenizer.json"
    model: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))["model"] if path.is_file() else {}
    return [tuple(pair.split(" ", 1)) if isinstance(pair, str) else tuple(pair) for pair in model.get("merges") or ()]


def _merges(folder: Path) -> list[str]:
    return [" ".join(pair) for pair in _pairs(folder)]


def digest_of(value: Any) -> str:
    """Return what `Known` holds of a value, which stays out of a receipt itself."""
    return blake2b(json.dumps(value, ensure_ascii=False).encode(), digest_size=16).hexdigest()
