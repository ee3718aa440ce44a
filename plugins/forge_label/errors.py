"""What an endpoint's failures mean: ask again, give this row up, or stop."""

from __future__ import annotations

import json
import math
import os
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import forge

if TYPE_CHECKING:
    from collections.abc import Mapping

REDIRECTS = 300

_EVERY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
_DELAY = re.compile(r"(\d+(?:\.\d+)?)s")
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


def translated(error: Exception, secret: str | None) -> forge.StepError | None:
    """Return what *error* means to the engine, or None where it is no provider's failure."""
    import aiohttp

    if isinstance(error, TimeoutError):
        return forge.ProviderBusy("no answer in time")
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.InvalidURL):
        return forge.ProviderRefused(_shown(f"no connection ({error})", secret), hint="look at `base_url`")
    if isinstance(error, aiohttp.ClientPayloadError):
        return forge.ProviderBusy("an answer that can't be read (it ends too early)")
    if isinstance(error, aiohttp.ClientConnectionError | ConnectionError):
        return forge.ProviderBusy(_shown(f"no connection ({type(error).__name__})", secret))
    if isinstance(error, aiohttp.ClientError):
        return forge.ProviderBusy(_shown(f"an answer that can't be read ({type(error).__name__})", secret))
    return None


def read_answer(answer: Any, secret: str | None) -> forge.Reply:
    """Return the text and the price of *answer*; one that is no chat completion counts as none."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list):
        problem, _ = _problem(answer)
        raise forge.ProviderBusy(_shown(f"an answer that is no chat completion {problem}".rstrip(), secret))
    choice = choices[0] if choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return forge.Reply(
        text=_hidden(str(message.get("content") or message.get("refusal") or ""), secret),
        model=_hidden(str(answer.get("model") or ""), secret),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        finish=str(choice.get("finish_reason") or ""),
    )


def of_status(
    status: int, headers: Mapping[str, str], body: bytes, secret: str | None, key_env: str | None
) -> forge.StepError:
    """Return what an answer with an error's *status* means to the engine."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = body.decode("utf-8", "replace")
    problem, code = _problem(answer)
    message = _shown(f"{status} {problem}", secret)
    if code == "insufficient_quota":
        return forge.ProviderRefused(message)
    if status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        wait = _retry_after(headers)
        limited = status == HTTPStatus.TOO_MANY_REQUESTS
        return forge.ProviderBusy(message, _retry_delay(answer) if wait is None else wait, limited=limited)
    if status in _EVERY or status < HTTPStatus.BAD_REQUEST or "api key" in problem.lower():
        hint = f"look at `base_url`, `model` and the key in `{key_env}`" if key_env else "is a `key_env` missing?"
        return forge.ProviderRefused(message, hint=hint)
    return forge.ProviderRefused(message, every=False)


def _problem(answer: Any) -> tuple[str, str]:
    """Return message and code of the error in *answer*, which some providers put into a list."""
    if isinstance(answer, list) and answer:
        answer = answer[0]
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if isinstance(error, dict):
        return str(error.get("message") or ""), str(error.get("code") or "")
    return (str(error), "") if isinstance(error, str) else ("", "")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a `Retry-After` header, which holds seconds or a date."""
    import time
    from email.utils import parsedate_to_datetime

    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _retry_delay(answer: Any) -> float | None:
    """Return the seconds of Gemini's `retryDelay` ("34s"), which stands among an error's details."""
    if isinstance(answer, list) and answer:
        answer = answer[0]
    error = answer.get("error") if isinstance(answer, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        found = _DELAY.fullmatch(str(detail.get("retryDelay"))) if isinstance(detail, dict) else None
        if found:
            return float(found[1])
    return None


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


def _shown(message: str, secret: str | None) -> str:
    line = " ".join(_hidden(message, secret).split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def _hidden(text: str, secret: str | None) -> str:
    """Blank the key out of what a provider sends back."""
    return text.replace(secret, "***") if secret else text
