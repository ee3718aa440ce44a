"""Write a chat template in Go's template language, as Ollama takes it, and render that language where it is used.

Ollama hands a template the list ``.Messages`` (each with ``.Role`` and ``.Content``, neighbours of one role joined) and
``.System``, the system messages' text (ollama, ``template/template.go``). The renderer knows the part of the language
that is written here: text, ``if`` … ``else if`` … ``else``, ``range`` over a list, variables, fields, strings, numbers,
``and or not eq ne len slice`` and trimming.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forge_llm.export.turns import Turns

_ACTION = re.compile(r"\{\{(- )?\s*(.*?)\s*( -)?\}\}", re.DOTALL)
_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\(|\)|:=|,|[^\s(),]+)')


def written(turns: Turns) -> str:
    """Return the Go template that writes *turns*."""
    system, user_start = _literal(turns.system[1]), _literal(turns.user[0])
    user = f"{user_start}{{{{ .Content }}}}{_literal(turns.user[1])}"
    head = _literal(turns.head)
    if turns.place in ("own", "first"):
        other = f"{{{{ else }}}}{head}" if turns.head else ""
        head = f"{{{{ if .System }}}}{_literal(turns.system[0])}{{{{ .System }}}}{system}{other}{{{{ end }}}}"
    if turns.place == "first":
        # a system message, where there is one, is message 0 and has opened the turn of message 1
        start = f"{{{{ if or (not $.System) (ne $i 1) }}}}{user_start}{{{{ end }}}}" if user_start else ""
        user = f"{start}{{{{ .Content }}}}{_literal(turns.user[1])}"
    if turns.place == "last":
        said = f"{{{{ if and $.System $last }}}}{{{{ $.System }}}}{system}{{{{ end }}}}"
        user = f"{user_start}{said}{{{{ .Content }}}}{_literal(turns.user[1])}"
    # an answer that is the last message is one to go on with: its end is the model's to write
    end = f"{{{{ if not $last }}}}{_literal(turns.assistant[1])}{{{{ end }}}}" if turns.assistant[1] else ""
    answer = f"{_literal(turns.assistant[0])}{{{{ .Content }}}}{end}"
    ask = f'{{{{ if and $last (ne .Role "assistant") }}}}{_literal(turns.ask)}{{{{ end }}}}' if turns.ask else ""
    turn = f'{{{{ if eq .Role "user" }}}}{user}{{{{ else if eq .Role "assistant" }}}}{answer}{{{{ end }}}}{ask}'
    return (
        f"{head}{{{{ range $i, $_ := .Messages }}}}{{{{ $last := eq (len (slice $.Messages $i)) 1 }}}}"
        f"{turn}{{{{ end }}}}"
    )


def _literal(text: str) -> str:
    return text.replace("{{", '{{ "{{" }}')


def render(template: str, messages: Sequence[Mapping[str, str]]) -> str:
    """Return what Ollama's engine makes of *messages* by *template*."""
    joined: list[dict[str, str]] = []
    for message in messages:
        if joined and joined[-1]["Role"] == message["role"]:
            joined[-1]["Content"] += "\n\n" + message["content"]
        else:
            joined.append({"Role": message["role"], "Content": message["content"]})
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    whole = {"System": system, "Messages": joined, "Response": ""}
    nodes, _ = _parse(list(_pieces(template)), 0)
    return "".join(_run(nodes, whole, {"$": whole}))


@attrs.frozen
class _Block:
    """Hold a text, an expression, or an ``if`` or ``range`` with what stands inside; `kind` says which."""

    kind: str
    text: str
    inside: tuple[_Block, ...] = ()
    otherwise: tuple[_Block, ...] = ()


def _pieces(template: str) -> Iterator[tuple[str, str]]:
    """Yield texts and actions as ``(kind, content)``."""
    place, trim = 0, False
    for found in _ACTION.finditer(template):
        text = template[place : found.start()]
        text = text.lstrip() if trim else text
        yield "text", text.rstrip() if found[1] else text
        yield "action", found[2]
        place, trim = found.end(), bool(found[3])
    yield "text", template[place:].lstrip() if trim else template[place:]


def _parse(pieces: list[tuple[str, str]], place: int) -> tuple[tuple[_Block, ...], int]:
    """Return the blocks from *place* up to an ``else`` or ``end`` that is not theirs, and where that stands."""
    blocks: list[_Block] = []
    while place < len(pieces):
        kind, content = pieces[place]
        if kind == "text":
            blocks.append(_Block("text", content))
            place += 1
            continue
        word, _, rest = content.partition(" ")
        if word in ("else", "end"):
            break
        if word in ("if", "range"):
            block, place = _parse_branch(pieces, place, word, rest)
            blocks.append(block)
        else:
            blocks.append(_Block("set" if ":=" in content else "print", content))
        place += 1
    return tuple(blocks), place


def _parse_branch(pieces: list[tuple[str, str]], place: int, kind: str, condition: str) -> tuple[_Block, int]:
    """Return an ``if`` or ``range`` with its branches, and where its ``end`` stands."""
    inside, place = _parse(pieces, place + 1)
    if place == len(pieces):
        raise ValueError(f"`{kind} {condition}` has no `end`")
    content = pieces[place][1]
    if content == "end":
        return _Block(kind, condition, inside), place
    if content == "else":
        otherwise, place = _parse(pieces, place + 1)
        return _Block(kind, condition, inside, otherwise), place
    nested, place = _parse_branch(pieces, place, "if", content.removeprefix("else if "))
    return _Block(kind, condition, inside, (nested,)), place


def _run(blocks: Sequence[_Block], dot: Any, names: dict[str, Any]) -> Iterator[str]:
    for block in blocks:
        if block.kind == "text":
            yield block.text
        elif block.kind == "print":
            yield str(_value(block.text, dot, names))
        elif block.kind == "set":
            name, _, expression = block.text.partition(" := ")
            names[name] = _value(expression, dot, names)
        elif block.kind == "if":
            branch = block.inside if _value(block.text, dot, names) else block.otherwise
            yield from _run(branch, dot, names)
        else:
            variables, _, expression = block.text.rpartition(" := ")
            for pair in enumerate(_value(expression, dot, names)):
                bound = dict(zip(variables.split(", "), pair, strict=False)) if variables else {}
                yield from _run(block.inside, pair[1], {**names, **bound})


def _value(expression: str, dot: Any, names: Mapping[str, Any]) -> Any:
    tokens = _TOKEN.findall(expression)
    value, rest = _call(tokens, dot, names)
    if rest:
        raise ValueError(f"`{expression}` has `{rest[0]}` too many")
    return value


def _call(tokens: list[str], dot: Any, names: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Return the value of a function with its arguments, or of one operand, and the tokens behind it."""
    if tokens[0] not in _FUNCTIONS:
        return _operand(tokens, dot, names)
    function, tokens = _FUNCTIONS[tokens[0]], tokens[1:]
    arguments = []
    while tokens and tokens[0] != ")":
        value, tokens = _operand(tokens, dot, names)
        arguments.append(value)
    return function(*arguments), tokens


def _operand(tokens: list[str], dot: Any, names: Mapping[str, Any]) -> tuple[Any, list[str]]:
    first, rest = tokens[0], tokens[1:]
    if first == "(":
        value, rest = _call(rest, dot, names)
        return value, rest[1:]
    if first[0] == '"':
        return json.loads(first), rest
    if first.isdigit():
        return int(first), rest
    root, *fields = first.split(".")
    value = names[root] if root else dot
    for field in fields:
        value = value[field]
    return value, rest


def _and(*values: Any) -> Any:
    return next((value for value in values if not value), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if value), values[-1])


_FUNCTIONS: Mapping[str, Any] = {
    "and": _and,
    "or": _or,
    "not": lambda value: not value,
    "eq": lambda left, right: left == right,
    "ne": lambda left, right: left != right,
    "len": len,
    "slice": lambda values, start: values[start:],
}
