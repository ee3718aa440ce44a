"""A few samples as text, with the mask over them: what `forge show` prints without the model's tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .masks import Encoded

SAMPLE = "sample.json"
"""The member beside a part's rows: ``[{id, n_tokens, n_trained, segments: [[text, learned, special], …]}, …]``."""


def sample_of(key: str, sample: Encoded, tokenizer: Any) -> dict[str, Any]:
    """Return one sample as runs of text that are learned or not, special tokens each alone and in full."""
    special = set(tokenizer.all_special_ids) | {
        number for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    segments: list[list[Any]] = []
    reached = sample.offsets[0][0] if sample.offsets else 0
    for number, learned, (start, end) in zip(sample.ids, sample.mask, sample.offsets, strict=True):
        is_special = number in special
        if is_special:
            text = str(tokenizer.convert_ids_to_tokens(number))
            reached = max(reached, end)
        else:
            # a sign whose bytes are several tokens is shown with the first of them
            text = sample.text[min(reached, start) : end] if end > reached else ""
            reached = max(reached, end)
        if not text:
            continue
        if segments and not is_special and segments[-1][1:] == [learned, False]:
            segments[-1][0] += text
        else:
            segments.append([text, learned, is_special])
    return {"id": key, "n_tokens": len(sample.ids), "n_trained": sum(sample.mask), "segments": segments}
