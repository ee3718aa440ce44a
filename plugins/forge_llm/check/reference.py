"""Run the merged model with transformers: what the GGUF file is measured against."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from forge_llm.chat_format import load_tokenizer
from forge_llm.check.local_model import shared_start

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

WIDENED = 4_000_000_000
"""Models of at most so many bytes run in 32 bits on a CPU."""


class ReferenceModel:
    """Hold a Hugging Face model and its tokenizer; the weights are read at the first reply."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        self.folder = folder
        self.threads = threads
        self.tokenizer: Any = load_tokenizer(folder)
        self._model: Any = None
        self._cache: Any = None
        self._held: list[int] = []
        self._ends: frozenset[int] = frozenset()

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of *tokens*."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    @property
    def ends_known(self) -> tuple[int, ...]:
        """Return the tokens that end a reply, the tokenizer's own first, without reading the weights."""
        path = self.folder / "generation_config.json"
        ends = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.is_file() else None
        several = [self.tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])]
        return tuple(dict.fromkeys(token for token in several if token is not None))

    def ends(self, token: int) -> bool:
        """Say whether *token* ends a reply."""
        return token in self._ends

    def rewind(self, count: int) -> None:
        """Forget all but the first *count* tokens."""
        if count < len(self._held):
            self._held = self._held[:count] if self._forget(len(self._held) - count) else []

    def logits_after(self, ids: Sequence[int], count: int = 1) -> Any:
        """Return the logits after each of the last *count* ids; what is shared with the last call stays cached."""
        import torch

        if self._model is None:
            self._load()
        ids = list(ids)
        keep = min(shared_start(self._held, ids), len(ids) - count)
        if not self._forget(len(self._held) - keep):
            keep = 0
        with torch.inference_mode():
            answer = self._model(
                input_ids=torch.tensor([ids[keep:]], device=self._model.device),
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=count,
            )
        self._held = ids
        return answer.logits[0, -count:].float().cpu().numpy()

    def let_go(self) -> None:
        """Give the weights' memory back; the tokenizer stays."""
        self._model, self._cache, self._held = None, None, []

    def _load(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM, DynamicCache

        torch.set_num_threads(self.threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        size = sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))
        # 16-bit products are slow on most CPUs, but twice the memory is only there for small models
        dtype = torch.float32 if device == "cpu" and size < WIDENED else "auto"
        model = AutoModelForCausalLM.from_pretrained(self.folder, dtype=dtype, local_files_only=True)
        self._model = model.to(device).eval()
        self._cache = DynamicCache(config=model.config)
        ends = model.generation_config.eos_token_id
        several = ends if isinstance(ends, list) else [ends]
        self._ends = frozenset(t for t in [*several, self.tokenizer.eos_token_id] if t is not None)

    def _forget(self, count: int) -> bool:
        """Take the last *count* tokens out of the cache; where it can't lose a part, start an empty one."""
        from transformers import DynamicCache

        if count > 0:
            try:
                self._cache.crop(-count)
            except RuntimeError:  # windows and recurrent layers keep no past to go back to
                self._cache = DynamicCache(config=self._model.config)
                return False
        return True
