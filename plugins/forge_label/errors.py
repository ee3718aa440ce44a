"""What an endpoint's failures mean: ask again, give this row up, or stop."""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import Any

import forge

_EVERY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
_LONGEST = 300  # characters of a provider's message that are shown


def read_key(name: str | None) -> str | None:
    """Return the secret in the environment variable *name*."""
    if name is None:
        return None
    value = os.environ.get(name, "").strip()
    if not value:
        raise forge.ProviderRefused(
            f"the environment variable `{name}` is not set", hint=f"`key_env` names it: put the key into `{name}`"
        )
    return value


def translated(error: Exception, secret: str | None, key_env: str | None) -> forge.StepError | None:
    """Return what *error* means to the engine, or None where it is no provider's failure."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _of_status(error, secret, key_env)
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return forge.ProviderBusy("no answer in time")
    if isinstance(error, openai.APIConnectionError):
        cause = error.__cause__
        return forge.ProviderBusy(_shown(f"no connection ({type(cause).__name__ if cause else error})", secret))
    if isinstance(error, openai.APIError | ValueError):
        return forge.ProviderBusy(_shown(f"an answer that can't be read ({type(error).__name__})", secret))
    return None


def read_answer(answer: Any, secret: str | None) -> forge.Reply:
    """Return the text and the price of *answer*; one that is no chat completion counts as none."""
    choices = getattr(answer, "choices", None)
    if not isinstance(choices, list):
        raise forge.ProviderBusy("an answer that is no chat completion")
    message = getattr(choices[0], "message", None) if choices else None
    text = getattr(message, "content", None) or getattr(message, "refusal", None) or ""
    usage = getattr(answer, "usage", None)
    return forge.Reply(
        text=_hidden(str(text), secret),
        model=_hidden(str(getattr(answer, "model", None) or ""), secret),
        prompt_tokens=getattr(usage, "prompt_tokens", None) or 0,
        completion_tokens=getattr(usage, "completion_tokens", None) or 0,
    )


def _of_status(error: Any, secret: str | None, key_env: str | None) -> forge.StepError:
    status = int(error.status_code)
    message = _shown(f"{status} {error.message}", secret)
    if error.code == "insufficient_quota":
        return forge.ProviderRefused(message)
    if status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return forge.ProviderBusy(message, _retry_after(error.response.headers))
    if status in _EVERY or "api key" in str(error.message).lower():
        hint = f"look at `base_url`, `model` and the key in `{key_env}`" if key_env else "is a `key_env` missing?"
        return forge.ProviderRefused(message, hint=hint)
    return forge.ProviderRefused(message, every=False)


def _retry_after(headers: Any) -> float | None:
    """Return the seconds of a `Retry-After` header, which holds seconds or a date."""
    import time
    from email.utils import parsedate_to_datetime

    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if seconds == seconds else None  # noqa: PLR0124 - NaN alone differs from itself


def _shown(message: str, secret: str | None) -> str:
    line = " ".join(_hidden(message, secret).split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def _hidden(text: str, secret: str | None) -> str:
    """Blank the key out of what a provider sends back."""
    return text.replace(secret, "***") if secret else text
