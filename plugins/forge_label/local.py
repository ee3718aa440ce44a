"""Labels from a GGUF on this machine, held to the schema by a grammar: for clusters without network."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import ge

import forge
from forge_label.errors import read_answer
from forge_label.prompted import Prompted

if TYPE_CHECKING:
    from llama_cpp import Llama

_OURS = ("provider", "model")


@attrs.frozen(kw_only=True)
class Gguf(Prompted):
    """Label rows with a GGUF through llama-cpp-python; a grammar made of the schema lets no other reply through.

    ``model`` is the file; replies are kept by its content, so a renamed file asks for nothing again.
    ``context`` is how many tokens prompt and reply may have together, ``gpu_layers`` how many layers a GPU takes
    (-1: all). All else is as in `label.openai`.
    """

    model: forge.File
    context: int = attrs.field(default=4096, validator=ge(64))
    concurrency: int = forge.setting(1, validator=ge(1))
    threads: int | None = forge.setting(None)
    gpu_layers: int = forge.setting(0)

    @property
    def named(self) -> str:
        """Return the model's name."""
        return self.model.name

    def identity(self) -> dict[str, Any]:
        """Return the engine, and the model by its bytes."""
        return {"provider": "llama-cpp-python", "model": f"gguf {self._digest}"}

    def options(self) -> dict[str, Any]:
        """Return sampling and schema as llama-cpp-python takes them."""
        form = {"type": "json_object", "schema": dict(self._schema.sent)}
        options = {"temperature": self.temperature, "max_tokens": self.max_tokens, "response_format": form}
        return options if self.seed is None else {**options, "seed": self.seed}

    async def ask(self, request: forge.Request) -> forge.Reply:
        """Run the model."""
        import asyncio

        options = {name: value for name, value in request.identity.items() if name not in _OURS}
        return await asyncio.to_thread(self._complete, [dict(turn) for turn in request.messages], options)

    def _complete(self, messages: list[dict[str, str]], options: dict[str, Any]) -> forge.Reply:
        with self._lock:
            self._llama.reset()  # what was asked before may not change the answer
            try:
                answer = self._llama.create_chat_completion(messages=messages, **options)
            except ValueError as error:
                raise forge.ProviderRefused(str(error), every=False) from error
        return read_answer(answer, None)

    @functools.cached_property
    def _digest(self) -> str:
        from blake3 import blake3

        return blake3(max_threads=blake3.AUTO).update_mmap(self.model.path).hexdigest()

    @functools.cached_property
    def _lock(self) -> threading.Lock:
        return threading.Lock()

    @functools.cached_property
    def _llama(self) -> Llama:
        import llama_cpp

        return llama_cpp.Llama(
            str(self.model.path),
            n_ctx=self.context,
            n_threads=self.threads,
            n_threads_batch=self.threads,
            n_gpu_layers=self.gpu_layers,
            verbose=False,
        )
