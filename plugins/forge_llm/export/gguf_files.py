"""Write a model as GGUF files that carry its chat template."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import ge

from forge import StepError
from forge_llm.export.convert import FTYPES, convert
from forge_llm.export.llama_cpp_files import embedded_template
from forge_llm.export.model_folder import MODEL, chat_template, find_folder, read_config, refuse_quantised
from forge_llm.export.quantize import NEED_IMPORTANCE, NOT_WRITTEN, QUANTISED, quantise
from forge_llm.model.gguf_header import read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from forge import Artifact, Notice, Run
    from forge_llm.export.importance import Importance

TYPES = (*FTYPES, *QUANTISED)


def canonical(kind: str) -> str:
    """Return a type's name as llama.cpp spells it (`q4_k_m` is `Q4_K_M`), or raise `ValueError`."""
    known = {name.lower(): name for name in TYPES}
    if kind.lower() in known:
        return known[kind.lower()]
    if kind.upper() in NOT_WRITTEN:
        raise ValueError(f"llama.cpp reads the type `{kind}` and does not write it")
    close = get_close_matches(kind.lower(), known, n=1)
    hint = f"did you mean `{known[close[0]]}`?" if close else f"there is {', '.join(f'`{name}`' for name in TYPES)}"
    raise ValueError(f"there is no GGUF type `{kind}`; {hint}")


def _canonical_types(kinds: Sequence[str]) -> tuple[str, ...]:
    if not kinds:
        raise ValueError("`types` must name at least one type")
    return tuple(dict.fromkeys(canonical(kind) for kind in kinds))


def _plain_name(_: Any, __: attrs.Attribute[str], value: str) -> None:
    if not value or value.startswith(".") or any(not (c.isalnum() or c in "._-") for c in value):
        raise ValueError(f"`name` must be letters, digits, `.`, `_` and `-`, got `{value}`")


@attrs.frozen
class Gguf:
    """Write a Hugging Face model as GGUF files, one for each of *types*.

    `f16`, `bf16` and `f32` come from llama.cpp's converter, quantised types from its quantiser, always by way of f16.
    The files are called ``<name>-<type>.gguf``; *name* is also what the file says it is, beside *license* (that of the
    model's card, where none is given) and ``forge.lineage``, the digest of the model.
    With ``data`` among the inputs an importance matrix is measured on *importance_rows* of its rows, each cut to
    *importance_tokens* tokens, and quantising goes by it; types of two bits and less need one.
    """

    types: tuple[str, ...] = attrs.field(default=("f16", "Q4_K_M"), converter=_canonical_types)
    name: str = attrs.field(default="model", validator=_plain_name)
    license: str = ""
    importance_rows: int = attrs.field(default=64, validator=ge(1))
    importance_tokens: int = attrs.field(default=512, validator=ge(1))

    def export(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> None:
        """Write the files, and read their chat templates back."""
        folder = find_folder(inputs["model"], MODEL)
        refuse_quantised(read_config(folder), inputs["model"].name)
        template = chat_template(folder)
        if template is None:
            raise StepError(
                f"input `{inputs['model'].name}` has no chat template",
                hint="without one, every program that loads the file guesses how to ask",
            )
        quantised = [kind for kind in self.types if kind not in FTYPES]
        needing = [kind for kind in quantised if kind in NEED_IMPORTANCE]
        if needing and "data" not in inputs:
            raise StepError(
                f"the type `{needing[0]}` needs an importance matrix",
                hint='give rows to measure it on: `from = { model = …, data = "split.train" }`',
            )
        lineage = inputs["model"].digest
        for kind in self.types:
            if kind in FTYPES:
                self._convert(folder, out / self.file_name(kind), kind, template, lineage, run)
        if not quantised:
            return
        full = out / self.file_name("f16")
        if not full.is_file():
            full = run.scratch / full.name
            self._convert(folder, full, "f16", template, lineage, run)
        importance = self._importance(folder, full, inputs["data"], run) if "data" in inputs else None
        for kind in quantised:
            target = out / self.file_name(kind)
            quantise(full, target, kind, run, importance=importance)
            _require_template(target, template)
            run.log(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB")
        if full.parent == run.scratch:
            full.unlink()

    def preflight(self, inputs: Mapping[str, Artifact], out: Path, run: Run) -> Iterable[Notice]:
        """Export a tiny model of the same architecture."""
        from forge_llm.preflight.tiny import look

        return look(self, inputs, out, run)

    def file_name(self, kind: str) -> str:
        """Return the name of the file of one type."""
        return f"{self.name}-{kind}.gguf"

    def _importance(self, folder: Path, full: Path, data: Artifact, run: Run) -> Importance:
        from forge_llm.export.importance import measure

        return measure(folder, read_header(full), data, self.importance_rows, self.importance_tokens, run)

    def _convert(self, folder: Path, target: Path, kind: str, template: str, lineage: str, run: Run) -> None:
        convert(folder, target, kind, self.name, run, license=self.license, lineage=lineage)
        _require_template(target, template)
        run.log(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB")


def _require_template(path: Path, template: str) -> None:
    """Refuse a file whose chat template is not the model's."""
    found = embedded_template(path)
    if found != template:
        what = "lost the model's chat template" if found is None else "has another chat template than the model"
        raise StepError(f"`{path.name}` {what}", hint="this is a fault of the converter: the file is not used")
