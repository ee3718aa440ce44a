"""Greedy and random decoding, free or held by a grammar, over anything that gives logits for token ids."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FIRST_LOOKS = (1, 64, 1024)
"""So many of the likeliest tokens are shown to the grammar before all are: nearly always one of them fits."""

DRAFT, LONGEST_DRAFT = 4, 32
"""Tokens of a guessed reply that are looked at in one pass: first, and when all before came true."""

NEARBY = 8
"""So far to both sides is a guessed reply searched for a token that was said instead of the next one."""


class Model(Protocol):
    """Give the logits that follow a sequence of token ids."""

    def logits_after(self, ids: Sequence[int], count: int = 1) -> Any:
        """Return the logits that follow each of the last *count* ids, ``[count, vocabulary]``.

        What two calls share at their start is computed once.
        """

    def ends(self, token: int) -> bool:
        """Say whether *token* ends a reply."""


@attrs.frozen
class Decoded:
    """Hold the tokens of a reply and, apart from them, the one that ended it, if any did."""

    tokens: tuple[int, ...]
    end: int | None = None

    @property
    def stopped(self) -> bool:
        """Say whether the model ended the reply, not the limit."""
        return self.end is not None

    @property
    def everything(self) -> tuple[int, ...]:
        """Return all tokens, the ending one included."""
        return self.tokens if self.end is None else (*self.tokens, self.end)


class Grammar:
    """Walk a GBNF grammar token by token, over the vocabulary of a loaded llama.cpp model."""

    def __init__(self, vocabulary: Any, text: str) -> None:
        import llama_cpp

        self._api = llama_cpp
        self.size: int = llama_cpp.llama_vocab_n_tokens(vocabulary)
        self._sampler = llama_cpp.llama_sampler_init_grammar(vocabulary, text.encode(), b"root")
        if not self._sampler:
            raise ValueError(f"llama.cpp can't read the grammar:\n{text}")

    def close(self) -> None:
        """Free it."""
        self._api.llama_sampler_free(self._sampler)

    def restart(self) -> None:
        """Go back to the start of the grammar."""
        self._api.llama_sampler_reset(self._sampler)

    def accept(self, token: int) -> None:
        """Take one step by a token that is allowed."""
        self._api.llama_sampler_accept(self._sampler, token)

    def allowed(self, tokens: Any) -> Any:
        """Say for each of *tokens*, an integer array, whether it may come next."""
        import numpy as np

        entry = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        shown = np.zeros(len(tokens), dtype=entry)
        shown["id"] = tokens
        pointer = ctypes.cast(shown.ctypes.data, ctypes.POINTER(self._api.llama_token_data))
        array = self._api.llama_token_data_array(data=pointer, size=len(tokens), selected=-1, sorted=False)
        self._api.llama_sampler_apply(self._sampler, ctypes.byref(array))
        return shown["logit"] == 0


def decode(
    model: Model,
    prompt: Sequence[int],
    limit: int,
    *,
    grammar: Grammar | None = None,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[int]:
    """Yield token after token, the ending one included, at most *limit*.

    A temperature above 0 draws by adding Gumbel noise to the logits: the largest is then a fair draw, and the largest
    that a grammar allows is a fair draw among what it allows.
    """
    import numpy as np

    noise = np.random.default_rng(seed)
    ids = list(prompt)
    if grammar is not None:
        grammar.restart()
    for _ in range(limit):
        logits = model.logits_after(ids)[-1]
        if temperature > 0:
            logits = logits / temperature + noise.gumbel(size=len(logits))
        token = _choose(logits, grammar)
        yield token
        if model.ends(token):
            return
        if grammar is not None:
            grammar.accept(token)
        ids.append(token)


def greedy(
    model: Model,
    prompt: Sequence[int],
    limit: int,
    *,
    grammar: Grammar | None = None,
    free: Decoded | None = None,
    said: Sequence[int] = (),
    guess: Sequence[int] = (),
) -> Decoded:
    """Decode greedily.

    *said* is what the model is known to say first, where no grammar holds it.
    *free* is what decoding without the grammar gave for the same prompt: as long as the grammar allows its tokens
    they are what it would have chosen, so only what comes after the first that it refuses is computed.
    *guess* is a reply that this one may resemble: several of its tokens are looked at in one pass of the model, and
    what the model would have said otherwise stands. It changes the speed and not the choice.
    """
    tokens: list[int] = []
    if grammar is not None:
        grammar.restart()
        known = free.everything if free is not None else ()
        walked = _walk(model, grammar, known)
        if walked.stopped:
            return walked
        tokens += walked.tokens
    elif said:
        known_start = _until_end(model, said[:limit])
        if known_start.stopped:
            return known_start
        tokens += known_start.tokens
    return _go_on(model, prompt, tokens, limit, grammar, guess)


def _go_on(
    model: Model,
    prompt: Sequence[int],
    tokens: list[int],
    limit: int,
    grammar: Grammar | None,
    guess: Sequence[int],
) -> Decoded:
    """Decode what comes after *tokens*, up to *limit* of them in all."""
    draft = _Draft(guess)
    for token in tokens:
        draft.hear(token)
    while len(tokens) < limit:
        drafted = draft.next(limit - len(tokens) - 1)
        several = model.logits_after([*prompt, *tokens, *drafted], len(drafted) + 1)
        for logits, expected in zip(several, [*drafted, None], strict=True):
            token = _choose(logits, grammar)
            if model.ends(token):
                return Decoded(tuple(tokens), token)
            if grammar is not None:
                grammar.accept(token)
            tokens.append(token)
            draft.hear(token)
            if token != expected:
                break
    return Decoded(tuple(tokens))


def _until_end(model: Model, tokens: Sequence[int]) -> Decoded:
    end = next((place for place, token in enumerate(tokens) if model.ends(token)), None)
    return Decoded(tuple(tokens)) if end is None else Decoded(tuple(tokens[:end]), tokens[end])


def _walk(model: Model, grammar: Grammar, known: Sequence[int]) -> Decoded:
    """Take the *known* tokens as far as the grammar allows them."""
    tokens: list[int] = []
    for token in known:
        if not grammar.allowed([token])[0]:
            break
        if model.ends(token):
            return Decoded(tuple(tokens), token)
        grammar.accept(token)
        tokens.append(token)
    return Decoded(tuple(tokens))


class _Draft:
    """Follow a reply that resembles a guessed one, and say what may come next.

    A token that the guess does not have nearby is waited out; one that it has shows where the two meet again.
    The more tokens came true, the more are offered: a batch that is thrown away costs more than it can win.
    """

    def __init__(self, guess: Sequence[int]) -> None:
        self.guess = list(guess)
        self.at = 0
        self.sure = bool(self.guess)
        self.length = DRAFT

    def next(self, most: int) -> list[int]:
        """Return at most *most* tokens that may come next; none while the reply goes its own way."""
        if not self.sure:
            return []
        return self.guess[self.at : self.at + max(0, min(most, self.length))]

    def hear(self, token: int) -> None:
        """Take note of a token that was said."""
        if self.at < len(self.guess) and self.guess[self.at] == token:
            self.at += 1
            self.length = min(2 * self.length, LONGEST_DRAFT) if self.sure else DRAFT
            self.sure = True
            return
        self.length = DRAFT
        near = range(max(0, self.at - NEARBY), min(self.at + NEARBY, len(self.guess)))
        places = [place for place in near if self.guess[place] == token]
        self.sure = bool(places)
        if places:
            self.at = min(places, key=lambda place: abs(place - self.at)) + 1


def _choose(logits: Any, grammar: Grammar | None) -> int:
    import numpy as np

    return int(np.argmax(logits)) if grammar is None else _best_allowed(logits, grammar)


def _best_allowed(logits: Any, grammar: Grammar) -> int:
    """Return the allowed token with the largest logit."""
    import numpy as np

    logits = logits[: grammar.size]  # a model's rows may be more than its tokens
    for count in (*FIRST_LOOKS, len(logits)):
        several = np.argpartition(-logits, count)[:count] if count < len(logits) else np.arange(len(logits))
        fit = several[grammar.allowed(several)]
        if len(fit):
            return int(fit[np.argmax(logits[fit])])
    raise ValueError("the grammar allows no token of the vocabulary")
