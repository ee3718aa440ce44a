"""Providers by name: address, key, model and form in one word, out of the package or out of a file of one's own."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from typing import Any, Literal

import attrs
from attrs.validators import in_, min_len, optional

import forge

Structured = Literal["json_schema", "json_object", "llama_cpp", "none"]
FORMS = ("json_schema", "json_object", "llama_cpp", "none")


def plain_address(_owner: object, _field: object, value: str) -> None:
    """Refuse an address that carries a secret: parameters are written down, secrets never."""
    from urllib.parse import urlsplit

    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"`base_url` must be an http or https address, got `{parts.scheme}:…`")
    if parts.username or parts.password or parts.query:
        raise ValueError("`base_url` must hold no user, password or query: `key_env` names the variable with the key")


@attrs.frozen(kw_only=True)
class Preset:
    """Say where a provider is, which variable holds its key, and which model answers in which form."""

    base_url: str | None = attrs.field(default=None, validator=optional(plain_address))
    model: str | None = attrs.field(default=None, validator=optional(min_len(1)))
    key_env: str | None = attrs.field(default=None, validator=optional(min_len(1)))
    structured: Structured = attrs.field(default="json_schema", validator=in_(FORMS))

    @classmethod
    def named(cls, name: str) -> Preset:
        """Return one that the package knows."""
        from importlib.resources import files

        known: dict[str, Any] = tomllib.loads(files("forge_label").joinpath("presets.toml").read_text(encoding="utf-8"))
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"there are {', '.join(f'`{k}`' for k in known)}"
            raise ValueError(f"there is no preset `{name}`; {hint}")
        return cls(**known[name])

    @classmethod
    def read(cls, file: forge.File) -> Preset:
        """Return the one that a TOML file holds."""
        try:
            values = tomllib.loads(file.read_text())
        except ValueError as error:
            raise ValueError(f"the preset `{file.name}` is not TOML: {error}") from None
        unknown = sorted(values.keys() - attrs.fields_dict(cls).keys())
        if unknown:
            known = ", ".join(f"`{name}`" for name in attrs.fields_dict(cls))
            raise ValueError(f"the preset `{file.name}` can't say `{unknown[0]}`; it may hold {known}")
        for name, value in values.items():
            if not isinstance(value, str):
                raise ValueError(f"the preset `{file.name}`: `{name}` must be a string, got `{value}`")  # noqa: TRY004 - a manifest's problem
        try:
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"the preset `{file.name}`: {error.args[0]}") from None
