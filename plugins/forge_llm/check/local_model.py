"""Run a GGUF file with llama.cpp: its own template, its own tokens, and the work that prompts share done once."""

from __future__ import annotations

import codecs
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from forge import StepError
from forge_llm.check.decoding import Grammar
from forge_llm.export.llama_cpp_files import ERROR, TEMPLATE, llama_log, metadata_value
from forge_llm.export.threads import wait_asleep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

BATCH = 512
"""Tokens of a prompt that llama.cpp takes at once."""


class LocalModel:
    """Hold a loaded GGUF file. Use it in a ``with`` block: it takes over what llama.cpp would print."""

    def __init__(self, path: Path, *, context: int, threads: int) -> None:
        self.path = path
        self.context = context
        self._stack = ExitStack()
        self._errors: list[str] = []
        self._held: list[int] = []
        self._open(threads)

    def _open(self, threads: int) -> None:
        wait_asleep()
        import llama_cpp
        from jinja2 import TemplateError

        def take(level: int, text: str) -> None:
            if level == ERROR:
                self._errors.append(text)

        self._api = llama_cpp
        self._stack.enter_context(llama_log(take))
        try:
            self._llama = llama_cpp.Llama(
                str(self.path),
                n_ctx=self.context,
                n_batch=BATCH,
                n_threads=threads,
                n_threads_batch=threads,
                verbose=False,
            )
        except TemplateError as error:
            self._stack.close()
            raise _unusable_template(self.path.name, error) from error
        except (ValueError, RuntimeError) as error:
            self._stack.close()
            reason = self._errors[0] if self._errors else error
            raise StepError(f"llama.cpp can't load `{self.path.name}`: {reason}") from error
        self._stack.callback(self._llama.close)
        self._batch = llama_cpp.llama_batch_init(BATCH, 0, 1)
        self._stack.callback(llama_cpp.llama_batch_free, self._batch)
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._llama.model)
        self.size: int = llama_cpp.llama_vocab_n_tokens(self._vocabulary)
        self.template = metadata_value(self._llama.model, TEMPLATE)
        self.end_token: int = llama_cpp.llama_vocab_eos(self._vocabulary)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

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
                self.template,
                eos_token=self._text_of(self.end_token),
                bos_token=self._text_of(self._api.llama_vocab_bos(self._vocabulary)),
                add_generation_prompt=generate,
            )
            return str(formatter(messages=list(messages)).prompt)
        except (TemplateError, ValueError) as error:
            raise _unusable_template(self.path.name, error) from error

    def encode(self, text: str) -> list[int]:
        """Return the token ids of rendered *text*; the template has written every special token already."""
        return list(self._llama.tokenize(text.encode(), add_bos=False, special=True))

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of *tokens*; bytes that are no text become replacement characters."""
        return "".join(self.stream(tokens))

    def stream(self, tokens: Iterable[int]) -> Iterator[str]:
        """Yield the text of *tokens* as soon as whole characters are there."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in tokens:
            piece = decoder.decode(self._llama.detokenize([token]))
            if piece:
                yield piece
        rest = decoder.decode(b"", final=True)
        if rest:
            yield rest

    def ends(self, token: int) -> bool:
        """Say whether *token* ends a reply."""
        return bool(self._api.llama_vocab_is_eog(self._vocabulary, token))

    def grammar(self, text: str) -> Grammar:
        """Read a GBNF grammar over the file's own vocabulary."""
        grammar = Grammar(self._vocabulary, text)
        self._stack.callback(grammar.close)
        return grammar

    def logits_after(self, ids: Sequence[int], count: int = 1) -> Any:
        """Return the logits after each of the last *count* ids; what is shared with the last call stays cached."""
        import numpy as np

        ids = list(ids)
        keep = min(shared_start(self._held, ids), len(ids) - count)
        memory = self._api.llama_get_memory(self._llama.ctx)
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
            for place in wanted:
                row = self._api.llama_get_logits_ith(self._llama.ctx, place - start)
                found.append(np.ctypeslib.as_array(row, (self.size,)).copy())
        self._held = ids
        logits = np.stack(found)
        if not np.isfinite(logits).all():
            raise StepError(f"`{self.path.name}` gives logits that are no numbers: its weights are damaged")
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
        status = self._api.llama_decode(self._llama.ctx, batch)
        if status != 0:
            reason = self._errors[-1] if self._errors else f"status {status}"
            raise StepError(f"llama.cpp can't run `{self.path.name}`: {reason}")

    def _text_of(self, token: int) -> str:
        if token < 0:
            return ""
        return str(self._api.llama_vocab_get_text(self._vocabulary, token).decode("utf-8"))


def _unusable_template(name: str, error: Exception) -> StepError:
    return StepError(f"the chat template in `{name}` can't be rendered: {error}")


def shared_start(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many token ids two lists share at their start."""
    short = min(len(left), len(right))
    if left[:short] == right[:short]:
        return short
    return next(i for i in range(short) if left[i] != right[i])
