"""Run a GGUF file with llama.cpp: its own template, its own tokens, and the work that prompts share done once."""

from __future__ import annotations

import codecs
import ctypes
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from forge import StepError
from forge_llm.chat_format import dated
from forge_llm.check.decoding import Grammar
from forge_llm.export.llama_cpp_files import ERROR, TEMPLATE, llama_log, metadata_value
from forge_llm.model.gguf_header import damage
from forge_llm.threads import wait_asleep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

BATCH = 512
"""Tokens of a prompt that llama.cpp takes at once."""

AT_ONCE = 128
"""Tokens that it computes at once: a small model's activations then stay in a core's cache, a tenth faster than 512."""


class LocalModel:
    """Hold a loaded GGUF file. Use it in a ``with`` block: it takes over what llama.cpp would print."""

    def __init__(self, path: Path) -> None:
        wait_asleep()
        import llama_cpp

        self.path = path
        self.api = llama_cpp
        self.errors: list[str] = []
        self.damaged = ""  # the first tensor that is known not to be the model's
        self._stack = ExitStack()
        self._stack.enter_context(llama_log(self._hear))
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        if self.model is None:
            self._stack.close()
            raise StepError(f"llama.cpp can't load `{path.name}`: {damage(path) or self.reason()}")
        self._stack.callback(llama_cpp.llama_model_free, self.model)
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.size: int = llama_cpp.llama_vocab_n_tokens(self.vocabulary)
        self.template = metadata_value(self.model, TEMPLATE)
        self.end_token: int = llama_cpp.llama_vocab_eos(self.vocabulary)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def reader(self, *, context: int, threads: int) -> Reader:
        """Return what reads tokens with a memory of its own; several may work at once."""
        reader = Reader(self, context=context, threads=threads)
        self._stack.callback(reader.close)
        return reader

    def grammar(self, text: str) -> Grammar:
        """Read a GBNF grammar over the file's own vocabulary."""
        grammar = Grammar(self.vocabulary, text)
        self._stack.callback(grammar.close)
        return grammar

    def render(self, messages: Sequence[Mapping[str, str]], *, generate: bool) -> str:
        """Render *messages* through the template in the file, as llama-cpp-python does."""
        from jinja2 import TemplateError
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        if self.template is None:
            raise StepError(
                f"`{self.path.name}` holds no chat template",
                hint="export it again from a model that has one: `tokenizer.chat_template` is missing",
            )
        try:
            formatter = Jinja2ChatFormatter(
                dated(self.template),
                eos_token=self._text_of(self.end_token),
                bos_token=self._text_of(self.api.llama_vocab_bos(self.vocabulary)),
                add_generation_prompt=generate,
            )
            return str(formatter(messages=list(messages)).prompt)
        except (TemplateError, ValueError) as error:
            raise StepError(f"the chat template in `{self.path.name}` can't be rendered: {error}") from error

    def encode(self, text: str) -> list[int]:
        """Return the token ids of rendered *text*; the template has written every special token already."""
        content = text.encode()
        room = len(content) + 8
        tokens = (self.api.llama_token * room)()
        count = self.api.llama_tokenize(self.vocabulary, content, len(content), tokens, room, False, True)  # noqa: FBT003 - a C function
        return list(tokens[:count])

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of *tokens*; bytes that are no text become replacement characters."""
        return "".join(self.stream(tokens))

    def stream(self, tokens: Iterable[int]) -> Iterator[str]:
        """Yield the text of *tokens* as soon as whole characters are there."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in tokens:
            piece = decoder.decode(self._piece(token))
            if piece:
                yield piece
        rest = decoder.decode(b"", final=True)
        if rest:
            yield rest

    def name(self, token: int) -> str:
        """Return a token as the vocabulary writes it."""
        return self._text_of(token) if 0 <= token < self.size else "none"

    def ends(self, token: int) -> bool:
        """Say whether *token* ends a reply."""
        return bool(self.api.llama_vocab_is_eog(self.vocabulary, token))

    def reason(self) -> str:
        """Return the last thing that llama.cpp complained of."""
        return self.errors[-1] if self.errors else "it gives no reason"

    def _hear(self, level: int, text: str) -> None:
        if level == ERROR:
            self.errors.append(text)

    def _piece(self, token: int) -> bytes:
        size = 32
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = self.api.llama_token_to_piece(self.vocabulary, token, buffer, size, 0, False)  # noqa: FBT003 - a C function
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def _text_of(self, token: int) -> str:
        if token < 0:
            return ""
        return str(self.api.llama_vocab_get_text(self.vocabulary, token).decode("utf-8"))


class Reader:
    """Read tokens and give the logits that follow, with a KV cache of its own."""

    def __init__(self, model: LocalModel, *, context: int, threads: int) -> None:
        self.model = model
        self._api = api = model.api
        self._held: list[int] = []
        parameters = api.llama_context_default_params()
        parameters.n_ctx = context
        parameters.n_batch, parameters.n_ubatch = BATCH, AT_ONCE
        parameters.n_threads = parameters.n_threads_batch = threads
        # faster with it, but what it says of a token then depends on how many are read with it
        parameters.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = api.llama_init_from_model(model.model, parameters)
        if self._context is None:
            raise StepError(f"llama.cpp can't make a context of {context} tokens: {model.reason()}")
        self._batch = api.llama_batch_init(BATCH, 0, 1)

    def close(self) -> None:
        """Give the memory back."""
        self._api.llama_batch_free(self._batch)
        self._api.llama_free(self._context)

    def ends(self, token: int) -> bool:
        """Say whether *token* ends a reply."""
        return self.model.ends(token)

    def rewind(self, count: int) -> None:
        """Forget all but the first *count* tokens, so that what comes next does not depend on what came before."""
        self._held = self._held[:count]

    def logits_after(self, ids: Sequence[int], count: int = 1) -> Any:
        """Return the logits after each of the last *count* ids; what is shared with the last call stays cached."""
        import numpy as np

        ids = list(ids)
        keep = min(shared_start(self._held, ids), len(ids) - count)
        memory = self._api.llama_get_memory(self._context)
        if not self._api.llama_memory_seq_rm(memory, 0, keep, -1):
            # recurrent models can't forget a part of what they read
            self._api.llama_memory_clear(memory, True)  # noqa: FBT003 - a C function
            keep = 0
        found = []
        self._held = []
        for start in range(keep, len(ids), BATCH):
            stop = min(start + BATCH, len(ids))
            wanted = range(max(len(ids) - count, start), stop)
            self._run(ids, range(start, stop), wanted)
            if wanted:  # the rows lie one behind the other, in the order of the batch
                rows = self._api.llama_get_logits_ith(self._context, wanted[0] - start)
                found.append(np.ctypeslib.as_array(rows, (len(wanted), self.model.size)).copy())
        self._held = ids
        logits = found[0] if len(found) == 1 else np.concatenate(found)
        if not np.isfinite(logits.sum(axis=1)).all():
            raise StepError(
                f"`{self.model.path.name}` gives logits that are no numbers: its weights are damaged",
                hint=self.model.damaged or None,
            )
        return logits

    def _run(self, ids: Sequence[int], places: range, wanted: range) -> None:
        """Let llama.cpp read the ids at *places*, with logits at those *wanted*."""
        batch = self._batch
        batch.n_tokens = len(places)
        for index, place in enumerate(places):
            batch.token[index] = ids[place]
            batch.pos[index] = place
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            batch.logits[index] = place in wanted
        status = self._api.llama_decode(self._context, batch)
        if status != 0:
            raise StepError(f"llama.cpp can't run `{self.model.path.name}`: status {status}, {self.model.reason()}")


def shared_start(left: Sequence[object], right: Sequence[object]) -> int:
    """Return how many token ids (or characters) two sequences share at their start."""
    short = min(len(left), len(right))
    if left[:short] == right[:short]:
        return short
    return next(i for i in range(short) if left[i] != right[i])
