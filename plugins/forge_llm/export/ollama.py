"""Write what Ollama makes a model of: a GGUF and a Modelfile that asks as the model was trained."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import ge, optional

from forge import File, Notice, StepError
from forge_llm.chat_format import load_tokenizer
from forge_llm.export import go_template
from forge_llm.export.convert import LICENSE
from forge_llm.export.gguf_files import canonical
from forge_llm.export.llama_cpp_files import adds_start, embedded_template
from forge_llm.export.model_folder import MODEL, chat_template, find_folder
from forge_llm.export.turns import NO_OTHER, Turns, differences, require_turns, samples, template_renderer, writes_date
from forge_llm.model.gguf_header import read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from forge import Artifact, Run

QUOTES = '"""'
"""What a Modelfile puts around text of several lines; it knows no way to write them inside."""


def _quotable(_: Any, attribute: attrs.Attribute[str], value: str | None) -> None:
    if value is not None and QUOTES in value:
        raise ValueError(f"`{attribute.name}` can't hold `{QUOTES}`: a Modelfile has no way to write it")


@attrs.frozen
class Ollama:
    """Write a Modelfile beside one GGUF: ``ollama create NAME -f Modelfile``.

    Ollama reads no jinja: its template is written in Go's language, out of what the model's own template does, and both
    are rendered on sample conversations here; one that differs in any character fails the step.
    *type* is the file that is taken, *system* a system message that is always there, *context* the tokens that fit
    (``num_ctx``) and *temperature* how freely words are chosen; what is not given is left to Ollama.
    """

    type: str = attrs.field(default="Q4_K_M", converter=canonical)
    system: str | None = attrs.field(default=None, validator=_quotable)
    context: int | None = attrs.field(default=None, validator=optional(ge(1)))
    temperature: float | None = attrs.field(default=None, validator=optional(ge(0)))

    def export(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> None:
        """Write the Modelfile, and put the GGUF beside it."""
        path = self._find(inputs["gguf"])
        folder = find_folder(inputs["model"], MODEL)
        if embedded_template(path) != chat_template(folder):
            raise StepError(
                f"`{path.name}` has another chat template than input `{inputs['model'].name}`",
                hint="`model` is what the GGUF was made of",
            )
        tokenizer = load_tokenizer(folder)
        render = template_renderer(tokenizer)
        if writes_date(tokenizer.get_chat_template()):
            run.warn(
                "the chat template writes the date, which Ollama's can't: the Modelfile says 26 July 2024 for good"
            )
        start = self._start(tokenizer.bos_token or "", path, render, run)
        turns = require_turns(lambda messages, generate: render(messages, generate).removeprefix(start), path.name)
        template = go_template.written(turns)
        self._compare(template, turns, start, render)
        if turns.place == "none" and self.system:
            raise StepError("the chat template takes no system message", hint="leave `system` out")
        run.log(f"{len(list(samples(turns)))} conversations are rendered as by the model's own template")
        run.bring(File(path.name, path), out / path.name, link=True)
        licence = str(read_header(path).get(LICENSE, ""))
        text = self.modelfile(path.name, template, stops(turns, tokenizer), licence)
        (out / "Modelfile").write_text(text, encoding="utf-8", newline="\n")

    def preflight(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> Iterable[Notice]:
        """Look for the file of the type."""
        del out, run
        return [Notice("file", message=f"`{self._find(inputs['gguf']).name}` is taken")]

    def modelfile(self, name: str, template: str, ends: list[str], licence: str) -> str:
        """Return the Modelfile for the GGUF called *name*."""
        parameters: dict[str, Any] = {"num_ctx": self.context, "temperature": self.temperature}
        lines = [f"FROM ./{name}", f"TEMPLATE {QUOTES}{template}{QUOTES}"]
        if self.system:
            lines.append(f"SYSTEM {QUOTES}{self.system}{QUOTES}")
        lines += [f"PARAMETER {key} {value}" for key, value in parameters.items() if value is not None]
        lines += [f'PARAMETER stop "{end}"' for end in ends]
        if licence:
            lines.append(f"LICENSE {QUOTES}{licence}{QUOTES}")
        return "\n".join(lines) + "\n"

    def _find(self, artifact: Artifact) -> Path:
        found = {name: path for name, path in artifact.files().items() if name.endswith(".gguf")}
        for name, path in found.items():
            if name.endswith(f"-{self.type}.gguf"):
                return path
        raise StepError(
            f"input `{artifact.name}` holds no `{self.type}` file",
            hint=f"it holds {', '.join(f'`{name}`' for name in found) or 'no GGUF'}",
        )

    def _start(self, token: str, path: Path, render: Any, run: Run) -> str:
        """Return the token that Ollama puts before a prompt, where the model's own template writes it too."""
        if not token or not adds_start(path):
            return ""
        if render([{"role": "user", "content": "Hello"}], True).startswith(token):  # noqa: FBT003 - called by place
            return token
        run.warn(f"Ollama puts `{token}` before every prompt, for so the vocabulary says; the chat template does not")
        return ""

    def _compare(self, template: str, turns: Turns, start: str, render: Any) -> None:
        if QUOTES in template:
            raise StepError(f"the chat template holds `{QUOTES}`, which a Modelfile has no way to write")
        found = differences(turns, lambda messages: start + go_template.render(template, messages), render)
        if found:
            ours, theirs = found[0]
            place = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
            place = min(len(ours), len(theirs)) if place is None else place
            raise StepError(
                f"the chat template does more than a Modelfile says: of {len(found)} conversations that differ, the "
                f"first does at character {place}, `{theirs[place : place + 40]}`",
                hint=NO_OTHER,
            )


def stops(turns: Turns, tokenizer: Any) -> list[str]:
    """Return the texts at which a reply has ended: special tokens that close an answer or open the next turn."""
    special = sorted(tokenizer.all_special_tokens, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, special)) or r"(?!)")
    said = [tokenizer.eos_token, *pattern.findall(turns.assistant[1]), *pattern.findall(turns.user[0])[:1]]
    if not pattern.search(turns.assistant[1] + turns.user[0]) and turns.user[0].strip():
        said.append(turns.user[0].strip())
    return [text for text in dict.fromkeys(said) if text and '"' not in text]
