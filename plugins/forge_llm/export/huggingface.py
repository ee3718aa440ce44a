"""Write a folder as the Hugging Face hub has them: model or adapter, tokenizer, template, and a card."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
from attrs.validators import min_len

from forge import File, StepError
from forge_llm.export.card import Card, DataSource
from forge_llm.export.model_folder import ADAPTER, MODEL, TOKENIZER_FILES, chat_template, find_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from forge import Artifact, Run

CARD = "README.md"
GENERATION = "generation_config.json"
_WANTED = (".safetensors", ".safetensors.index.json")


@attrs.frozen
class HuggingFace:
    """Write a merged model, or an adapter, as a folder that transformers, peft and LLaMA-Factory load.

    ``model`` is either; beside an adapter ``base`` gives tokenizer and generation config where the adapter has none,
    and *base* is the name by which those who load the adapter find its base. ``gguf`` adds its files.
    The card says what ``data`` (rows, by their column ``source``), ``training`` (parameters, figures, curve) and
    ``receipt`` hold; *sources* declares licence and origin of each source. Nothing in it is of the day or the machine.
    """

    name: str = attrs.field(validator=min_len(1))
    license: str = ""
    language: tuple[str, ...] = ()
    base: str = ""
    summary: str = ""
    sources: dict[str, DataSource] = attrs.field(factory=dict)

    def export(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> None:
        """Bring the files and write the card."""
        model = inputs["model"]
        adapter = not _holds(model, MODEL)
        folder = find_folder(model, ADAPTER if adapter else MODEL)
        base = find_folder(inputs["base"], MODEL) if "base" in inputs else None
        if adapter and not self.base:
            raise StepError(
                f"input `{model.name}` is an adapter, and nothing says what it is one for",
                hint='`base = "…"` is the id or path by which those who load it find the base',
            )
        for name, path in _members(folder, base if adapter else None):
            run.bring(File(name, path), out / name, link=True)
        if adapter:
            self._name_base(folder, out)
        if chat_template(out) is None:
            raise StepError(
                f"input `{model.name}` has no chat template",
                hint="an adapter's tokenizer is that of its base: `from = { model = …, base = … }`",
            )
        files = self._bring_beside(inputs, out, run)
        card = Card(
            self.name,
            self.license,
            self.language,
            self.base,
            self.summary.strip(),
            self.sources,
            adapter,
            model.digest,
            files,
        )
        text = card.text(inputs.get("data"), inputs.get("training"), inputs.get("receipt"))
        (out / CARD).write_text(text, encoding="utf-8", newline="\n")

    def _name_base(self, folder: Path, out: Path) -> None:
        settings = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
        settings["base_model_name_or_path"] = self.base
        (out / ADAPTER).write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def _bring_beside(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> dict[str, int]:
        """Bring GGUF files and the curve's picture; return the sizes of the former."""
        given = inputs["gguf"].files().items() if "gguf" in inputs else ()
        files = {name: path for name, path in given if name.endswith(".gguf")}
        for name, path in files.items():
            run.bring(File(name, path), out / name, link=True)
        picture = inputs["training"].files().get("loss.png") if "training" in inputs else None
        if picture is not None:
            run.bring(File("loss.png", picture), out / "loss.png", link=True)
        return {name: path.stat().st_size for name, path in files.items()}


def _holds(artifact: Artifact, marker: str) -> bool:
    return any(name.rpartition("/")[2] == marker for name in artifact.files())


def _members(folder: Path, base: Path | None) -> Iterator[tuple[str, Path]]:
    """Yield the files of a model, or of an adapter (its settings apart) with what its *base* has beside the weights."""
    sides = (*TOKENIZER_FILES, GENERATION, "LICENSE")
    own = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    for name, path in own.items():
        if name in sides or name.endswith(_WANTED) or (name == MODEL and base is None):
            yield name, path
    if base is None:
        return
    has_tokenizer = "tokenizer_config.json" in own
    for name in sides:
        if name not in own and (base / name).is_file() and not (has_tokenizer and name in TOKENIZER_FILES):
            yield name, base / name
