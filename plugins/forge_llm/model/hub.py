"""Fetch a model from the Hugging Face hub, or from a mirror of it: the one step that opens a connection."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import matches_re

import forge

from .preset import fit, known_preset, summaries
from .safe_files import check_complete

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

COMMIT = "hub.json"
"""The member that says which commit the files are of."""
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
_QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@attrs.frozen
class HubModel:
    """Fetch a model by its hub ``id`` and ``revision`` (a branch, a tag or, best, a commit).

    ``HF_ENDPOINT`` names a mirror, ``HF_TOKEN`` opens private and gated models; both come from the environment alone
    and reach no key and no artifact. Files that the local hub cache holds are not fetched again.
    Only safetensors are taken: pickled weights run whatever code their author put in.
    ``trust_remote_code`` also takes the model's Python files; later steps run them because they are there.
    ``preset`` names the model's family, with which architecture and chat template are compared before the weights
    are fetched. The result's `hub.json` names the commit; a branch that has moved since then is fetched again where
    ``revision`` says the new commit.
    """

    id: str = attrs.field(validator=matches_re(r"[\w.-]+(/[\w.-]+)?"))
    revision: str = "main"
    trust_remote_code: bool = False
    preset: str | None = attrs.field(default=None, validator=known_preset)

    @staticmethod
    def presets() -> dict[str, str]:
        """Return the families that ``preset`` may name."""
        return summaries()

    def fetch(self, out: Path, run: forge.Run) -> None:
        """Fetch what describes the model, compare it, fetch the weights, and say which commit they are of."""
        folder = run.scratch / "files"
        folder.mkdir(parents=True, exist_ok=True)
        said = {"id": self.id, "trust_remote_code": self.trust_remote_code, "folder": str(folder)}
        with _fetcher() as child:
            found = _ask(child, {**said, "revision": self.revision, "weights": False}, run)
            if not re.fullmatch("[0-9a-f]{40}", self.revision):
                run.warn(f"`{self.id}` at `{self.revision}` is commit `{found['commit']}`: name it to stay with it")
            files = {name: folder / name for name in found["files"]}
            # a sharded model's index says which shards it wants: missing ones are known before any is fetched
            check_complete(files)
            fit(folder, self.preset, run)
            _ask(child, {**said, "revision": found["commit"], "weights": True}, run)
        for path in (*files.values(), folder / "chat_template.jinja"):
            if path.is_file():
                shutil.move(path, out / path.name)
        (out / COMMIT).write_text(json.dumps({"id": self.id, "commit": found["commit"]}) + "\n", encoding="utf-8")


@contextmanager
def _fetcher() -> Iterator[subprocess.Popen[str]]:
    """Start the process that fetches: this one, like all workers, is kept from the hub."""
    environment = {name: value for name, value in os.environ.items() if name not in _OFFLINE} | _QUIET
    with subprocess.Popen(
        [sys.executable, "-m", "forge_llm.model.hub_fetch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        encoding="utf-8",
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def _ask(child: subprocess.Popen[str], request: Mapping[str, Any], run: forge.Run) -> dict[str, Any]:
    """Let the process fetch files, and return what it found."""
    assert child.stdin is not None  # noqa: S101 - both are pipes
    assert child.stdout is not None  # noqa: S101
    child.stdin.write(json.dumps(request) + "\n")
    child.stdin.flush()
    for line in child.stdout:
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise forge.StepError(message["error"], hint=message["hint"])
        if "done" not in message:
            return message
        run.progress(message["done"], message["total"], megabytes=round(message["done"] / 1e6, 1))
    raise forge.StepError(f"fetching `{request['id']}` ended with status {child.wait()}", hint="see the log")
