"""Labels from any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import functools
import json
from typing import Any

import attrs
from attrs.validators import gt, in_, min_len, optional

import forge
from forge_label.client import Connection
from forge_label.errors import read_answer
from forge_label.presets import FORMS, Preset, Structured, plain_address
from forge_label.prompted import Prompted

_OURS = ("provider", "model", "revision")  # of an identity; all else of it is sent as it stands


@attrs.frozen(kw_only=True)
class Remote(Prompted):
    """Ask a model at an address."""

    preset: str | None = None
    preset_file: forge.File | None = None
    base_url: str | None = attrs.field(default=None, validator=optional(plain_address))
    model: str | None = attrs.field(default=None, validator=optional(min_len(1)))
    models: tuple[str, ...] = ()
    provider: str | None = attrs.field(default=None, validator=optional(min_len(1)))
    revision: str | None = attrs.field(default=None, validator=optional(min_len(1)))
    key_env: str | None = attrs.field(default=None, validator=optional(min_len(1)))
    structured: Structured | None = attrs.field(default=None, validator=optional(in_(FORMS)))
    extra: dict[str, str | int | float | bool] = attrs.Factory(dict)
    timeout: float = forge.setting(120.0, validator=gt(0.0))

    def __attrs_post_init__(self) -> None:
        """Want an address and a model."""
        if self.preset is not None and self.preset_file is not None:
            raise ValueError("give one of `preset` and `preset_file`")
        for name in ("base_url", "model"):
            if getattr(self.provided, name) is None:
                raise ValueError(f"`{name}` is missing: give it, or a `preset` that does")
        Prompted.__attrs_post_init__(self)

    @functools.cached_property
    def provided(self) -> Preset:
        """Return where the provider is: what the step says itself, and what its preset says of the rest."""
        known = Preset()
        if self.preset is not None:
            known = Preset.named(self.preset)
        if self.preset_file is not None:
            known = Preset.read(self.preset_file)
        own = {field.name: getattr(self, field.name) for field in attrs.fields(Preset)}
        return attrs.evolve(known, **{name: value for name, value in own.items() if value is not None})

    @property
    def address(self) -> str:
        """Return where the provider is."""
        return str(self.provided.base_url)

    @property
    def named(self) -> str:
        """Return the model's name."""
        return str(self.provided.model)

    @property
    def asked(self) -> tuple[str, ...]:
        """Return the models that are asked."""
        return self.models or (self.named,)

    def secrets(self) -> tuple[str, ...]:
        """Return the environment variables that must be set before a request is sent."""
        return () if self.provided.key_env is None else (self.provided.key_env,)

    def identity(self) -> dict[str, Any]:
        """Return provider and model, and the revision where it is named."""
        revision = {} if self.revision is None else {"revision": self.revision}
        return {"provider": self.provider or self.address.rstrip("/"), "model": self.named, **revision}

    def options(self) -> dict[str, Any]:
        """Return sampling and schema, in the form that the provider takes."""
        options: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens, **self.extra}
        if self.seed is not None:
            options["seed"] = self.seed
        sent = dict(self._schema.sent)
        form = self.provided.structured
        if form == "json_schema":
            strict = {"name": "labels", "strict": True, "schema": sent}
            options["response_format"] = {"type": "json_schema", "json_schema": strict}
        elif form == "llama_cpp":
            options["response_format"] = {"type": "json_object", "schema": sent}
        elif form == "json_object":
            options["response_format"] = {"type": "json_object"}
        return options

    def voting(self, model: str, seed: int | None) -> Any:
        """Return the labeler of one vote by *model*."""
        return attrs.evolve(self, model=model, seed=seed, models=(), votes=1, most_money=None)

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    @functools.cached_property
    def _connection(self) -> Connection:
        return Connection(self.address, self.provided.key_env, self.timeout)


@attrs.frozen(kw_only=True)
class OpenAI(Remote):
    """Label rows through an OpenAI-compatible endpoint.

    ``preset`` says which by name (``gemini``, ``openai``, ``deepseek``, ``qwen``, ``ollama``, ``llama-server``), and
    ``preset_file`` by a TOML file of your own with ``base_url``, ``model``, ``key_env`` and ``structured``; what the
    step says itself goes before either. ``base_url`` and ``model`` alone do for any other, such as vLLM.
    ``key_env`` names the environment variable that holds the key; the key itself is read when the first request is
    sent and stands in no parameter, record, journal or log. Without ``key_env`` none is sent.
    Replies are kept by provider, model and ``revision``; ``provider`` is a name to keep them by instead of the
    address, for a server that moves. ``extra`` is sent as it stands (``{ reasoning_effort = "low" }``).

    ``prompt`` (a file) or ``prompt_text`` is a jinja2 template over the row: its columns by their names,
    ``text`` (the *column* as one text) and ``schema`` (the JSON Schema). ``system`` or ``system_file`` goes before it.
    ``column`` is a list of ``{role, text}`` or plain text; a row in which it is empty is skipped.
    With ``evidence_prompt`` (a file) or ``evidence_text``, a first request asks for quotes or a summary in at most
    ``evidence_tokens``; the prompt sees the reply as ``evidence``, and it is kept in the column ``label_evidence``.

    ``schema`` is a JSON Schema of one object, a property for each label: a file, a Python file with one attrs class,
    or a table ``{ level = { minimum = 0, maximum = 3 } }``. A reply must hold exactly these keys with values that the
    schema allows, else it is refused. ``structured`` says how the provider is held to it:
    ``json_schema`` (OpenAI's form), ``json_object`` (JSON, the schema unsent), ``llama_cpp`` (``json_object`` with
    the schema inside, as llama-cpp-python's server takes it) or ``none``. Integer ranges are sent as enumerations.

    ``votes`` asks so often, each time with another seed, and each of ``models``, where these are named; the majority
    of each label counts, of equals the graver value.
    ``attempts`` bounds how often a refused reply is asked for again, ``retries`` how often an unanswered request is,
    ``completeness`` the share of rows that must come out labelled. ``requests_per_minute`` and ``tokens_per_minute``
    keep to a provider's limits; ``most_tokens`` and ``most_money`` (by ``prices``, a table of ``{ input, output }``
    for a million tokens of each model) stop one build; so do the first ``most_refused`` rows if all are refused.
    """

    async def ask(self, request: forge.Request) -> forge.Reply:
        """Send *request* and return what was answered."""
        answer = await self._connection.post("chat/completions", body_of(request))
        return read_answer(answer, self._connection.secret)


def body_of(request: forge.Request) -> bytes:
    """Return what is sent for *request*: its model, its messages and the options in its identity."""
    sent = {name: value for name, value in request.identity.items() if name not in _OURS}
    body = {"model": request.identity["model"], "messages": [dict(turn) for turn in request.messages], **sent}
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
