"""Labels from any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import ge, gt, in_, le, min_len, optional

import forge
from forge_label import errors
from forge_label.replies import read_object
from forge_label.schema import Schema
from forge_label.statistics import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    import jinja2
    import polars as pl
    from openai import AsyncOpenAI

Structured = Literal["json_schema", "json_object", "llama_cpp", "none"]


def _plain_address(_owner: object, _field: object, value: str) -> None:
    """Refuse an address that carries a secret: parameters are written down, secrets never."""
    from urllib.parse import urlsplit

    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"`base_url` must be an http or https address, got `{parts.scheme}:…`")
    if parts.username or parts.password or parts.query:
        raise ValueError("`base_url` must hold no user, password or query: name the key's variable by `key_env`")


@attrs.frozen
class OpenAI:
    """Label rows through an OpenAI-compatible endpoint.

    ``base_url`` says which: OpenAI, DeepSeek, Qwen, vLLM, llama-server, Ollama, and Gemini by
    ``base_url = "https://generativelanguage.googleapis.com/v1beta/openai/"`` with ``model = "gemini-2.5-flash"``.
    ``key_env`` names the environment variable that holds the key; the key itself is read when the first request is
    sent and stands in no parameter, record, journal or log. Without ``key_env`` none is sent.

    ``prompt`` (a file) or ``prompt_text`` is a jinja2 template over the row: its columns by their names,
    ``text`` (the *column* as one text) and ``schema`` (the JSON Schema).
    ``column`` is a list of ``{role, text}`` or plain text; a row in which it is empty is skipped.

    ``schema`` is a JSON Schema of one object, a property for each label. A reply must hold exactly these keys with
    values that the schema allows, else it is refused. ``structured`` says how the provider is held to it:
    ``json_schema`` (OpenAI's form), ``json_object`` (JSON, the schema unsent), ``llama_cpp`` (``json_object`` with
    the schema inside, as llama-cpp-python's server takes it) or ``none``. Integer ranges are sent as enumerations.

    ``attempts`` bounds how often a refused reply is asked for again, ``retries`` how often an unanswered request is,
    ``completeness`` the share of rows that must come out labelled.
    """

    base_url: str = attrs.field(validator=_plain_address)
    model: str = attrs.field(validator=min_len(1))
    schema: forge.File
    prompt: forge.File | None = None
    prompt_text: str | None = None
    key_env: str | None = attrs.field(default=None, validator=optional(min_len(1)))
    system: str | None = None
    column: str = "conversation"
    structured: Structured = attrs.field(
        default="json_schema", validator=in_(("json_schema", "json_object", "llama_cpp", "none"))
    )
    temperature: float = attrs.field(default=0.0, validator=ge(0.0))
    max_tokens: int = attrs.field(default=1024, validator=ge(1))
    seed: int | None = None
    attempts: int = attrs.field(default=3, validator=ge(1))
    completeness: float = attrs.field(default=1.0, validator=[ge(0.0), le(1.0)])
    concurrency: int = forge.setting(8, validator=ge(1))
    retries: int = forge.setting(6, validator=ge(0))
    backoff: float = forge.setting(1.0, validator=gt(0.0))
    timeout: float = forge.setting(120.0, validator=gt(0.0))

    def __attrs_post_init__(self) -> None:
        """Want one prompt."""
        if (self.prompt is None) == (self.prompt_text is None):
            raise ValueError("give one of `prompt` (a file) and `prompt_text`")

    def request(self, row: Mapping[str, Any]) -> forge.Request:
        """Render the prompt over *row*; refuse a row that has nothing to label."""
        if self.column not in row:
            raise forge.StepError(
                f"the rows have no column `{self.column}`", hint=f"they have {', '.join(f'`{name}`' for name in row)}"
            )
        text = _text(row[self.column])
        if not text.strip():
            raise forge.Refused(f"`{self.column}` is empty")
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return forge.Request(self._identity, [*system, {"role": "user", "content": self._render(row, text)}])

    async def ask(self, request: forge.Request) -> forge.Reply:
        """Send *request* and return what was answered."""
        import asyncio

        import openai

        client = self._connection.open(self)
        secret = self._connection.secret
        messages: Any = [dict(message) for message in request.messages]
        headers = None if secret else {"Authorization": openai.omit}
        try:
            async with asyncio.timeout(self.timeout):
                answer: Any = await client.chat.completions.create(
                    model=self.model, messages=messages, extra_headers=headers, **self._options
                )
        except Exception as error:
            known = errors.translated(error, secret, self.key_env)
            if known is None:
                raise
            raise known from None
        return errors.read_answer(answer, secret)

    def parse(self, reply: forge.Reply) -> Mapping[str, Any]:
        """Return the labels that *reply* holds, in the schema's order, or refuse it."""
        values = read_object(reply.text)
        self._schema.check(values)
        return {name: values[name] for name in self._schema.names}

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    def statistics(self, rows: pl.LazyFrame) -> Mapping[str, Any]:
        """Count states and labels."""
        return describe(rows, self._schema.names)

    @functools.cached_property
    def _schema(self) -> Schema:
        return Schema.read(self.schema)

    @functools.cached_property
    def _connection(self) -> _Connection:
        return _Connection()

    @functools.cached_property
    def _options(self) -> dict[str, Any]:
        """Return what is sent beside model and messages."""
        options: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        if self.seed is not None:
            options["seed"] = self.seed
        sent = dict(self._schema.sent)
        if self.structured == "json_schema":
            form = {"name": "labels", "strict": True, "schema": sent}
            options["response_format"] = {"type": "json_schema", "json_schema": form}
        elif self.structured == "llama_cpp":
            options["response_format"] = {"type": "json_object", "schema": sent}
        elif self.structured == "json_object":
            options["response_format"] = {"type": "json_object"}
        return options

    @functools.cached_property
    def _identity(self) -> Mapping[str, Any]:
        return {"provider": self.base_url.rstrip("/"), "model": self.model, **self._options}

    @functools.cached_property
    def _template(self) -> jinja2.Template:
        import jinja2

        text = self.prompt_text if self.prompt is None else self.prompt.read_text()
        name = "prompt_text" if self.prompt is None else self.prompt.name
        # The output is a prompt, not a page: there is nothing to escape.
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
        try:
            return environment.from_string(text or "")
        except jinja2.TemplateSyntaxError as error:
            raise forge.StepError(f"the prompt `{name}`, line {error.lineno}: {error.message}") from error

    def _render(self, row: Mapping[str, Any], text: str) -> str:
        import jinja2

        schema = json.dumps(self._schema.sent, ensure_ascii=False)
        try:
            return self._template.render({**row, "text": text, "schema": schema})
        except jinja2.TemplateError as error:
            columns = ", ".join(f"`{name}`" for name in row)
            raise forge.StepError(f"can't render the prompt: {error}", hint=f"it may use {columns}") from error


@attrs.define
class _Connection:
    """Hold the client while a run lasts; it belongs to one event loop."""

    client: AsyncOpenAI | None = None
    secret: str | None = None

    def open(self, labeler: OpenAI) -> AsyncOpenAI:
        if self.client is None:
            self.secret = errors.read_key(labeler.key_env)
            self.client = _client(labeler, self.secret)
        return self.client

    async def close(self) -> None:
        client, self.client, self.secret = self.client, None, None
        if client is not None:
            await client.close()


def _client(labeler: OpenAI, secret: str | None) -> AsyncOpenAI:
    from openai import AsyncOpenAI

    client = AsyncOpenAI(
        base_url=labeler.base_url,
        api_key=secret or "none",
        max_retries=0,  # the engine retries, and journals in between
        timeout=labeler.timeout,
    )
    # The library takes these from OpenAI's own variables; another provider has no business with them.
    client.admin_api_key = client.organization = client.project = None
    return client


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return "\n".join(f"{turn['role']}: {turn['text']}" for turn in value if (turn["text"] or "").strip())
