"""Take a Hugging Face model that is already on this machine."""

from __future__ import annotations

import json
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

import forge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "vocab.*", "merges.txt")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_ADAPTER = "adapter_config.json"


@attrs.frozen
class LocalModel:
    """Take a Hugging Face folder, or a hub model from the local cache; no connection is opened.

    ``path`` is the folder; ``id`` and ``revision`` name a model that was downloaded before.
    Only safetensors are taken: pickled weights run whatever code their author put in.
    ``trust_remote_code`` also takes the folder's Python files; later steps run them because they are there.
    """

    path: forge.Files | None = None
    id: str | None = None
    revision: str = "main"
    trust_remote_code: bool = False

    def files(self) -> list[forge.File]:
        """Return the cached model's files, whose digests belong to the key as a parameter's would."""
        return self._wanted(self._cached()) if self.path is None else []

    def fetch(self, out: Path, run: forge.Run) -> None:
        """Copy the model's files; a link would lend the store's read-only mark to the original."""
        files = self._wanted(self._cached() if self.path is None else list(self.path))
        _check_complete(files)
        for count, file in enumerate(files, 1):
            shutil.copyfile(file.path, out / file.name)
            run.progress(count, len(files))

    def preflight(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Notice]:
        """Take everything but the weights."""
        from forge_llm.preflight.bases import look_at_folder

        del inputs, run
        files = self._wanted(self._cached() if self.path is None else list(self.path))
        _check_complete(files)
        return look_at_folder(files, out)

    def _cached(self) -> list[forge.File]:
        if self.id is None:
            raise forge.StepError("neither `path` nor `id` is given", hint="name a model's folder: `path = …`")
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(self.id, revision=self.revision, local_files_only=True))
        except LocalEntryNotFoundError as error:
            raise forge.StepError(
                f"model `{self.id}` at revision `{self.revision}` is not in the local cache",
                hint=f"where there is a network: hf download {self.id} --revision {self.revision}",
            ) from error
        return list(forge.Files.match("*", folder))

    def _wanted(self, files: list[forge.File]) -> list[forge.File]:
        """Keep what a model is loaded from: the files at the folder's top, without pickles and code."""
        patterns = (*_WANTED, "*.py") if self.trust_remote_code else _WANTED
        wanted = [f for f in files if "/" not in f.name and any(fnmatch(f.name, pattern) for pattern in patterns)]
        if any(f.name.endswith(".safetensors") for f in wanted):
            return wanted
        pickled = [f.name for f in files if any(fnmatch(f.name, pattern) for pattern in _PICKLED)]
        if pickled:
            raise forge.StepError(
                f"the model has no safetensors, only pickled weights: `{pickled[0]}`",
                hint="loading a pickle runs code; convert it once, where you trust it, with `save_pretrained`",
            )
        raise forge.StepError("the model's folder has no `*.safetensors`", hint="is it the folder of one model?")


def _check_complete(files: list[forge.File]) -> None:
    """Refuse an adapter, a folder without its config, and a sharded model with a shard missing."""
    have = {file.name: file for file in files}
    if _ADAPTER in have:
        raise forge.StepError("the folder holds an adapter, not a model", hint="merge it first, or name its base")
    if "config.json" not in have:
        raise forge.StepError("the model's folder has no `config.json`")
    for name in [name for name in have if name.endswith(".safetensors.index.json")]:
        shards = set(json.loads(have[name].read_text())["weight_map"].values())
        missing = sorted(shards - set(have))
        if missing:
            raise forge.StepError(f"the model is incomplete: `{missing[0]}` is missing ({len(missing)} in all)")
