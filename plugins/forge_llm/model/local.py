"""Take a Hugging Face model that is already on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

import forge

from .preset import fit, known_preset, summaries
from .safe_files import check_complete, wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@attrs.frozen
class LocalModel:
    """Take a Hugging Face folder, or a hub model from the local cache; no connection is opened.

    ``path`` is the folder; ``id`` and ``revision`` name a model that was downloaded before.
    Only safetensors are taken: pickled weights run whatever code their author put in.
    ``trust_remote_code`` also takes the folder's Python files; later steps run them because they are there.
    ``preset`` names the model's family, with which architecture and chat template are compared.
    """

    path: forge.Files | None = None
    id: str | None = None
    revision: str = "main"
    trust_remote_code: bool = False
    preset: str | None = attrs.field(default=None, validator=known_preset)

    @staticmethod
    def presets() -> dict[str, str]:
        """Return the families that ``preset`` may name."""
        return summaries()

    @forge.foreseen
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
        fit(out, self.preset, run)

    def preflight(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Notice]:
        """Take everything but the weights."""
        from forge_llm.preflight.bases import look_at_folder

        del inputs
        files = self._wanted(self._cached() if self.path is None else list(self.path))
        _check_complete(files)
        yield from look_at_folder(files, out)
        fit(out, self.preset, run)

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
        """Keep what a model is loaded from."""
        names = set(wanted([f.name for f in files], trust_remote_code=self.trust_remote_code))
        return [f for f in files if f.name in names]


def _check_complete(files: list[forge.File]) -> None:
    check_complete({file.name: file.path for file in files})
