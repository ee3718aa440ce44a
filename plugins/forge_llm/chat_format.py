"""Turn a row into chat messages, and messages into the text that the model's own template gives.

Training, export and proof all render through these functions, so that what is trained is what is asked later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forge import StepError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    Messages = Sequence[Mapping[str, str]]

ROLES = ("system", "user", "assistant")
UNKNOWN_ROLE = "unknown role"
MAP_ROLES = (
    '`text.dialogue` with `form = "turns"`, `column = "messages"` knows roles by many names (`human`, `gpt`), '
    '`roles = { seeker = "user" }` adds others'
)
SHAPES = ("messages", "conversation", "instruction, output")
"""The columns by which a row says what was said."""
_ROLE = 20
"""Letters of an unknown role that its reason names."""
_CALENDAR = (
    "{%- macro strftime_now(form) -%}{{ form"
    + "".join(
        f" | replace('%{letter}', '{word}')"
        for letter, word in {
            "d": "26",
            "b": "Jul",
            "B": "July",
            "m": "07",
            "Y": "2024",
            "y": "24",
            "A": "Friday",
        }.items()
    )
    + " }}{%- endmacro -%}"
)


class UnusableRow(Exception):
    """Carry a short fixed reason why a row can't become a chat."""


def shape_of(columns: Iterable[str]) -> str | None:
    """Return which of `SHAPES` the *columns* allow, or None."""
    have = set(columns)
    return next((shape for shape in SHAPES if set(shape.split(", ")) <= have), None)


def messages_of(row: Mapping[str, Any], system: str | None = None) -> list[dict[str, str]]:
    """Return the row as messages ``{role, content}``, an answer included where the row has one.

    A row holds ``messages`` ({role, content}), ``conversation`` ({role, text}), or ``instruction`` with an
    optional ``input`` (joined by one line break, as LLaMA-Factory does) and ``output``.
    A row's own ``system`` comes before *system*; both give way to a system message that is already there.
    """
    said = _turns(row)
    roles = [message["role"] for message in said]
    unknown = next((role for role in roles if role not in ROLES), None)
    if unknown is not None:
        raise UnusableRow(f"{UNKNOWN_ROLE} `{str(unknown)[:_ROLE]}`")
    if "user" not in roles:
        raise UnusableRow("no user turn")
    head = row.get("system") or system
    if head and roles[0] != "system":
        said.insert(0, {"role": "system", "content": str(head)})
    return said


def prompt_of(row: Mapping[str, Any], system: str | None = None) -> tuple[list[dict[str, str]], str]:
    """Part a row into the messages to ask with and the answer that is wanted (empty where the row has none)."""
    said = messages_of(row, system)
    if said[-1]["role"] == "assistant":
        return said[:-1], said[-1]["content"]
    return said, ""


def render(tokenizer: Any, messages: Messages, *, generate: bool) -> str:
    """Return the text that the template makes of *messages*; *generate* opens the assistant's turn."""
    from jinja2 import TemplateError

    options = {}
    if isinstance(tokenizer.chat_template, str):
        options["chat_template"] = dated(tokenizer.chat_template)
    try:
        return str(
            tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=generate, **options)
        )
    except TemplateError as error:
        raise UnusableRow("refused by the chat template") from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UnusableRow("the chat template fails on it") from error


def dated(template: str) -> str:
    """Return a template that, where it asks for today's date, is told the same day always, in every renderer.

    Else the same rows would give other token ids tomorrow. The day is the one that Llama's templates name where no
    clock is at hand.
    """
    return _CALENDAR + template if "strftime_now" in template else template


def encode(tokenizer: Any, text: str) -> list[int]:
    """Return the token ids of rendered *text*; the template has written every special token already."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def brings_code(folder: Path) -> bool:
    """Say whether a model folder holds Python files; `model.local` lets them in only where it was told to."""
    return any(folder.glob("*.py"))


def load_tokenizer(folder: Path, *, chat: bool = True) -> Any:
    """Load the tokenizer of a model folder, which must be a fast one and, for a *chat*, have a chat template."""
    from transformers import AutoTokenizer

    trust = brings_code(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust)
    if not tokenizer.is_fast:
        raise StepError("the model's tokenizer gives no offsets", hint="a `tokenizer.json` is needed beside the model")
    if chat and not tokenizer.chat_template:
        raise StepError(
            "the model has no chat template",
            hint="take an instruct model, or name the model's family in its source: `preset = …` writes its template",
        )
    return tokenizer


def _turns(row: Mapping[str, Any]) -> list[dict[str, str]]:
    if row.get("messages") is not None:
        said = _told(row["messages"], "content")
    elif row.get("conversation") is not None:
        said = _told(row["conversation"], "text")
    else:
        question = "\n".join(str(row[name]) for name in ("instruction", "input") if row.get(name))
        said = [{"role": "user", "content": question}]
        if row.get("output") is not None:
            said.append({"role": "assistant", "content": str(row["output"])})
    if not said or any(not isinstance(turn["content"], str) or not turn["content"].strip() for turn in said):
        raise UnusableRow("empty turn")
    return said


def _told(turns: Sequence[Mapping[str, str]], text: str) -> list[dict[str, str]]:
    """Return turns whose words stand in the field *text* as messages."""
    try:
        return [{"role": turn["role"], "content": turn[text]} for turn in turns]
    except (KeyError, TypeError) as error:
        raise UnusableRow(f"turns without `role` and `{text}`") from error
