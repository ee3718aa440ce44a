"""What is known of a family of models: a TOML file each, beside this module.

A model needs no preset: its own folder says all. A preset is what the folder is compared with before anything is
trained, and gives a model that was published without a chat template the one of its family.
"""

from __future__ import annotations

import json
import tomllib
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import attrs

import forge
from forge_llm.chat_format import UnusableRow, load_tokenizer, render
from forge_llm.spans import Template
from forge_llm.words import listed, meant

if TYPE_CHECKING:
    from pathlib import Path

_SUFFIX = ".toml"
_ASKED = "forge asks"


class UnknownPresetError(ValueError):
    """Name a preset that does not exist; ``hint`` has the closest."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no preset `{name}`")
        self.hint = meant(name, names())


@attrs.frozen
class Preset:
    """Hold what a family's models have in common.

    ``user`` and ``assistant`` open a turn, ``end`` closes an answer, ``end_of_text`` a plain text. ``system`` says
    where its message stands: in a turn of its ``own``, at the ``head`` without a mark, before the ``first`` or the
    ``last`` question, or nowhere (``refused``); ``default_system`` is what the template writes where a chat has none.
    ``thoughts`` says that answers begin with a thought. ``targets`` are the layers that an adapter is put on.
    """

    name: str
    title: str
    models: tuple[str, ...]
    architectures: tuple[str, ...]
    user: str
    assistant: str
    end: str
    end_of_text: str
    system: Literal["own", "head", "first", "last", "refused"]
    targets: tuple[str, ...]
    precision: Literal["bf16", "fp32"]
    template: str
    default_system: str = ""
    thoughts: bool = False
    notes: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[str, ...]:
        """Return the tokens without which the family's template means nothing to a model."""
        return tuple(dict.fromkeys((self.end, self.end_of_text)))


def names() -> tuple[str, ...]:
    """Return the names of all presets."""
    found = (files("forge_llm.model") / "presets").iterdir()
    return tuple(sorted(f.name.removesuffix(_SUFFIX) for f in found if f.name.endswith(_SUFFIX)))


@cache
def read(name: str) -> Preset:
    """Return a preset by its name."""
    if name not in names():
        raise UnknownPresetError(name)
    text = (files("forge_llm.model") / "presets" / f"{name}{_SUFFIX}").read_text(encoding="utf-8")
    return Preset(name, **{key: _frozen(value) for key, value in tomllib.loads(text).items()})


def known_preset(_instance: object, _attribute: attrs.Attribute[Any], value: str | None) -> None:
    """Refuse a name that no preset has, as a validator."""
    if value is not None and value not in names():
        raise UnknownPresetError(value)


def summaries() -> dict[str, str]:
    """Return what each preset is for, by name."""
    return {name: f"{(p := read(name)).title}: {', '.join(p.models)}" for name in names()}


def fit(folder: Path, name: str | None, run: forge.Run) -> None:
    """Compare the model in *folder* with a preset; a model without a chat template is given the preset's."""
    if name is None:
        return
    preset = read(name)
    if find_spec("transformers") is None:
        raise forge.StepError("`preset` needs `transformers`", hint="pip install 'forge[train]'")
    _compare_architecture(folder, preset)
    tokenizer = load_tokenizer(folder, chat=False)
    missing = [mark for mark in preset.marks if mark not in tokenizer.get_vocab()]
    if missing:
        raise _unfit(folder, preset, f"its tokenizer has no token {listed(missing)}")
    if tokenizer.chat_template:
        problem = problem_of(tokenizer, preset)
        if problem:
            raise _unfit(folder, preset, problem)
    else:
        run.warn(f"the model has no chat template: it gets that of the preset `{name}`")
        (folder / "chat_template.jinja").write_text(preset.template, encoding="utf-8")
        if not tokenizer.eos_token:
            raise _unfit(folder, preset, "its tokenizer names no end token")


def problem_of(tokenizer: Any, preset: Preset) -> str | None:
    """Say in which way a tokenizer's chat template is not the preset's family's; None where it is."""
    asked = [{"role": "user", "content": _ASKED}]
    try:
        prompt, closing = render(tokenizer, asked, generate=True), Template.of(tokenizer).closing
    except UnusableRow:
        return "its chat template refuses a question and its answer"
    before, _, after = prompt.partition(_ASKED)
    if not before.rstrip(" ").endswith(preset.user.rstrip(" ")):
        return f"its chat template does not open a question with {json.dumps(preset.user, ensure_ascii=False)}"
    if preset.assistant.strip() not in after:
        return f"its chat template does not open an answer with {json.dumps(preset.assistant, ensure_ascii=False)}"
    if closing != preset.end:
        found = f"`{closing}`" if closing else "nothing"
        return f"its chat template ends an answer with {found}, not with `{preset.end}`"
    if preset.default_system and f"\n{preset.default_system}{preset.end}" not in before:
        return "its chat template writes another system message where a chat has none"
    return None


def fitting(folder: Path) -> list[str]:
    """Return the presets that a model folder agrees with, the most telling first."""
    architecture = architecture_of(folder)
    tokenizer = load_tokenizer(folder, chat=False)
    vocabulary = tokenizer.get_vocab()
    found = [
        preset
        for preset in map(read, names())
        if architecture in preset.architectures
        and all(mark in vocabulary for mark in preset.marks)
        and (not tokenizer.chat_template or problem_of(tokenizer, preset) is None)
    ]
    return [p.name for p in sorted(found, key=lambda p: (-len(p.default_system), p.name))]


def architecture_of(folder: Path) -> str:
    """Return the name of the class that a model folder's weights are for."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(config["architectures"][0])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise forge.StepError(
            "the model's `config.json` names no architecture", hint="is it the folder of one model?"
        ) from error


def _compare_architecture(folder: Path, preset: Preset) -> None:
    found = architecture_of(folder)
    if found not in preset.architectures:
        raise _unfit(folder, preset, f"it is a `{found}`, the preset is for {listed(preset.architectures)}")


def _unfit(folder: Path, preset: Preset, problem: str) -> forge.StepError:
    fits = fitting(folder)
    hint = f"this model fits {listed(fits)}" if fits else "leave `preset` out: the model's own template is taken"
    return forge.StepError(f"the model does not fit the preset `{preset.name}`: {problem}", hint=hint)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
