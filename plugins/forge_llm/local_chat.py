"""Talk to a model on this machine: a GGUF file through llama.cpp, a Hugging Face folder through transformers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import attrs

from forge import StepError
from forge_llm.chat_format import load_tokenizer, render
from forge_llm.check.decoding import decode
from forge_llm.check.local_model import LocalModel
from forge_llm.export.model_folder import ADAPTER, MODEL
from forge_llm.hush import hush_bitsandbytes
from forge_llm.threads import AWAKE, SPINS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from forge import Chat
    from forge_llm.check.local_model import Reader

CONTEXT = 4096
TEMPERATURE = 0.0
"""Greedy, as the receipt was: a model that was trained for exact replies gives the ones that were checked."""
LONGEST = 1024
"""Tokens of one reply at most."""


def open_chat(
    path: Path, system: str | None, base: Path | None = None, temperature: float = TEMPERATURE
) -> Chat | None:
    """Open a GGUF file, the smallest one in a folder, or a folder's Hugging Face model; None for all else.

    An adapter is laid over its *base*, unmerged: what is talked to is what was trained.
    """
    if path.is_file():
        return GgufChat(path, system, temperature) if path.suffix == ".gguf" else None
    files = sorted(path.rglob("*.gguf"), key=lambda file: (file.stat().st_size, file.name))
    if files:
        return GgufChat(files[0], system, temperature)
    if (path / ADAPTER).is_file():
        if base is None:
            raise StepError(
                "an adapter can't talk without the model that it was trained for", hint="name its folder with `--base`"
            )
        return FolderChat(base, system, temperature, adapter=path)
    if (path / MODEL).is_file() and any(path.glob("*.safetensors")):
        return FolderChat(path, system, temperature)
    return None


def with_system(history: Sequence[Mapping[str, str]], system: str | None) -> list[Mapping[str, str]]:
    """Return the history, opened by *system* unless it has a system message of its own."""
    if system and not (history and history[0]["role"] == "system"):
        return [{"role": "system", "content": system}, *history]
    return list(history)


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@attrs.define
class GgufChat:
    """Answer by a GGUF file through its embedded template; the conversation so far stays in the KV cache."""

    path: Path
    system: str | None = None
    temperature: float = TEMPERATURE
    longest: int = LONGEST
    context: int = CONTEXT
    threads: int = attrs.field(factory=_cores)
    seed: int = 0
    _opened: tuple[LocalModel, Reader] | None = attrs.field(default=None, init=False)

    def stream(self, history: Sequence[Mapping[str, str]]) -> Iterable[str]:
        """Yield the reply to *history* in pieces."""
        model, reader = self._open()
        ids = model.encode(model.render(with_system(history, self.system), generate=True))
        room = self.context - len(ids)
        if room < 1:
            raise StepError(
                f"the conversation has {len(ids)} tokens, the context is {self.context}", hint="start a new one"
            )
        # a turn of its own seed, so that the same words in the same place get the same answer
        drawn = decode(
            reader, ids, min(self.longest, room), temperature=self.temperature, seed=self.seed + len(history)
        )
        yield from model.stream(token for token in drawn if not model.ends(token))

    def close(self) -> None:
        """Give the memory back."""
        if self._opened is not None:
            self._opened[0].__exit__(None, None, None)
            self._opened = None

    def _open(self) -> tuple[LocalModel, Reader]:
        if self._opened is None:
            os.environ.setdefault(SPINS, AWAKE)  # a worker has its own
            model = LocalModel(self.path)
            self._opened = (model, model.reader(context=self.context, threads=self.threads))
        return self._opened


@attrs.define
class FolderChat:
    """Answer by a Hugging Face folder through transformers, with an adapter over it where one is named."""

    path: Path
    system: str | None = None
    temperature: float = TEMPERATURE
    longest: int = LONGEST
    adapter: Path | None = None
    _loaded: tuple[Any, Any] | None = attrs.field(default=None, init=False)

    def stream(self, history: Sequence[Mapping[str, str]]) -> Iterator[str]:
        """Yield the reply to *history* in pieces."""
        from threading import Thread

        import torch
        from transformers import TextIteratorStreamer

        tokenizer, model = self._load()
        prompt = render(tokenizer, with_system(history, self.system), generate=True)
        encoded = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").to(model.device)
        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        failures: list[BaseException] = []

        def work() -> None:
            sampling = {"do_sample": True, "temperature": self.temperature} if self.temperature > 0 else {}
            try:
                with torch.inference_mode():
                    model.generate(
                        **encoded,
                        streamer=streamer,
                        max_new_tokens=self.longest,
                        pad_token_id=tokenizer.eos_token_id,
                        **(sampling or {"do_sample": False}),
                    )
            except BaseException as error:  # noqa: BLE001 - raised again where the reply is read
                failures.append(error)
                streamer.end()

        thread = Thread(target=work, daemon=True)
        thread.start()
        yield from (piece for piece in streamer if piece)
        thread.join()
        if failures:
            raise failures[0]

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import warnings

            hush_bitsandbytes()
            import torch
            from transformers import AutoModelForCausalLM

            device = "cuda" if torch.cuda.is_available() else "cpu"
            model = AutoModelForCausalLM.from_pretrained(self.path, dtype="auto", local_files_only=True)
            tokens = self.path
            if self.adapter is not None:
                from peft import PeftModel

                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name on its way out
                    model = PeftModel.from_pretrained(model, self.adapter)
                tokens = self.adapter if (self.adapter / "tokenizer.json").is_file() else self.path
            self._loaded = (load_tokenizer(tokens), model.to(device).eval())
        return self._loaded
