"""Find the GGUF files that a check speaks of, and what each is compared with."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import attrs

from forge import StepError
from forge_llm.model.gguf_header import read_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from forge import Artifact

REFERENCE = "reference"
"""What figures of the model itself are called by, where those of files have their type."""

WHOLE = ("f16", "bf16", "f32")
"""The types that others are compared with: the first that is there."""


@attrs.frozen
class Exported:
    """Hold a GGUF file, its type as llama.cpp spells it, and its architecture."""

    path: Path
    kind: str
    architecture: str


def choose(artifact: Artifact, types: Sequence[str]) -> list[Exported]:
    """Return the files of *types*, or all; a 16-bit file comes first, named or not, for the others to be compared with.

    Where there is none the first file is compared with the model itself, as the 16-bit file is.
    """
    found = [exported(path) for path in artifact.files().values() if path.suffix == ".gguf"]
    if not found:
        raise StepError(
            f"input `{artifact.name}` holds no GGUF file",
            hint=f"it holds {', '.join(list(artifact.files())[:5]) or 'nothing'}",
        )
    kinds = [each.kind for each in found]
    twice = next((each.kind for each in found if kinds.count(each.kind) > 1), None)
    if twice:
        raise StepError(f"input `{artifact.name}` holds several files of the type `{twice}`")
    for kind in types:
        if kind not in kinds:
            close = get_close_matches(kind, kinds, n=1)
            raise StepError(
                f"input `{artifact.name}` has no file of the type `{kind}`",
                hint=f"did you mean `{close[0]}`?" if close else f"it holds {', '.join(artifact.files())}",
            )
    base = next((kind for kind in WHOLE if kind in kinds), None)
    wanted = [each for each in found if not types or each.kind in types or each.kind == base]
    return sorted(wanted, key=lambda each: (each.kind != base, each.kind not in WHOLE, -each.path.stat().st_size))


def exported(path: Path) -> Exported:
    """Read a file's type and architecture from its header."""
    from llama_cpp import llama_cpp

    header = read_header(path)
    number = int(header.get("general.file_type", -1))
    names = {
        value: name.removeprefix("LLAMA_FTYPE_").removeprefix("MOSTLY_").removeprefix("ALL_")
        for name, value in vars(llama_cpp).items()
        if name.startswith("LLAMA_FTYPE_") and isinstance(value, int)
    }
    kind = names.get(number, path.stem.rpartition("-")[2])
    kind = kind.lower() if kind in ("F32", "F16", "BF16") else kind
    return Exported(path, kind, str(header.get("general.architecture", "")))


def of_bound(name: str) -> tuple[str, str]:
    """Part a bound's name into whose figure it bounds ("" for every file's) and the figure."""
    of, _, figure = name.rpartition(".")
    return of, figure


def bound_of(require: Mapping[str, float | bool], of: str, name: str) -> float | bool | None:
    """Return the bound on one figure of one file: its own, or that of every file."""
    own = require.get(f"{of}.{name}")
    return own if own is not None or of == REFERENCE else require.get(name)
