"""Hand a model, or an adapter over its base, to LLaMA-Factory: to talk with, to train on, to merge."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import attrs

import forge
from forge_llamafactory.exporter import as_yaml
from forge_llamafactory.templates import KNOWN, closest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CHAT, MERGE = "chat.yaml", "merge.yaml"
ADAPTER, MODEL = "adapter_config.json", "config.json"


@attrs.frozen
class Model:
    """Write a folder for LLaMA-Factory: the files of ``model``, ``chat.yaml``, and for an adapter ``merge.yaml``.

    *template* is LLaMA-Factory's name for the model's chat template; *more_templates* adds names of a later release.
    *base* is the path or id of the base that an adapter was trained on, as LLaMA-Factory will find it.
    In the artifact's folder: ``llamafactory-cli chat chat.yaml``, ``llamafactory-cli export merge.yaml``.
    """

    template: str
    base: str = ""
    more_templates: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        """Refuse a template that LLaMA-Factory doesn't have."""
        if self.template not in {*KNOWN, *self.more_templates}:
            message = f"`template` is no name that LLaMA-Factory knows: `{self.template}`{closest(self.template)}"
            raise ValueError(message)

    def export(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> None:
        """Bring the files and write the settings."""
        given = inputs["model"]
        members = given.files()
        names = {PurePath(name).name for name in members}
        adapter = ADAPTER in names and MODEL not in names
        if not adapter and MODEL not in names:
            raise forge.StepError(
                f"input `{given.name}` holds neither `{MODEL}` nor `{ADAPTER}`",
                hint="it is the result of `export.merged`, `export.huggingface` or `train.lora`",
            )
        if adapter and not self.base:
            raise forge.StepError(
                f"input `{given.name}` is an adapter, and nothing says what it is one for",
                hint='`base = "…"` is the id or path by which LLaMA-Factory finds the base',
            )
        for name, path in members.items():
            run.bring(forge.File(name, path), out / name, link=True)
        if adapter:
            self._name_base(out / next(name for name in members if PurePath(name).name == ADAPTER))
        (out / CHAT).write_text(as_yaml(self.settings(adapter=adapter)), encoding="utf-8", newline="\n")
        if adapter:
            merge = {**self.settings(adapter=True), "export_dir": "merged", "export_size": 5, "export_device": "cpu"}
            del merge["infer_backend"]
            (out / MERGE).write_text(as_yaml(merge), encoding="utf-8", newline="\n")

    def settings(self, *, adapter: bool) -> dict[str, Any]:
        """Return what LLaMA-Factory is told to load the folder by."""
        found: dict[str, Any] = {"model_name_or_path": self.base if adapter else "."}
        if adapter:
            found |= {"adapter_name_or_path": ".", "finetuning_type": "lora"}
        return {**found, "template": self.template, "infer_backend": "huggingface", "trust_remote_code": False}

    def _name_base(self, path: Path) -> None:
        settings = json.loads(path.read_text(encoding="utf-8")) | {"base_model_name_or_path": self.base}
        path.unlink()  # it may be the store's own file under a second name
        path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
