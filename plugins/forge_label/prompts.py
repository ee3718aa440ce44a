"""Prompts: jinja2 templates over a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

import forge

if TYPE_CHECKING:
    from collections.abc import Mapping

    import jinja2


@attrs.frozen
class Prompt:
    """Hold one template; its text is part of every request, so it needs no name in a key."""

    template: jinja2.Template

    @classmethod
    def read(cls, file: forge.File | None, text: str | None) -> Prompt:
        """Read the template in *file*, or *text*."""
        import jinja2

        name = "prompt_text" if file is None else file.name
        # The output is a prompt, not a page: there is nothing to escape.
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
        try:
            return cls(environment.from_string(text or "" if file is None else file.read_text()))
        except jinja2.TemplateSyntaxError as error:
            raise forge.StepError(f"the prompt `{name}`, line {error.lineno}: {error.message}") from error

    def over(self, row: Mapping[str, Any]) -> str:
        """Render the template over *row*."""
        import jinja2

        try:
            return self.template.render(row)
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
            columns = ", ".join(f"`{name}`" for name in row)
            raise forge.StepError(f"can't render the prompt: {error}", hint=f"it may use {columns}") from error


def conversation_text(value: Any) -> str:
    """Return a conversation, or plain text, as one text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return "\n".join(f"{turn['role']}: {turn['text']}" for turn in value if (turn["text"] or "").strip())
