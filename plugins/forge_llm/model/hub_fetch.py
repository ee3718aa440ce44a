"""Talk to the hub: a process of its own, which takes requests as lines of JSON and answers in such lines."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from forge import StepError

from .safe_files import wanted

_EVERY = 1.0
"""Seconds between two lines about how far it is."""
_PIECE = 1 << 22
_SHA256 = 64


def main() -> None:
    """Answer requests until the input closes."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _fetch(request)
        except StepError as error:
            answer = {"error": error.message, "hint": error.hint}
        except Exception as error:  # noqa: BLE001 - whatever the hub's library raises is one error to the person
            message, hint = _in_words(error, request)
            answer = {"error": message, "hint": hint}
        _say(answer)


def _fetch(request: dict[str, Any]) -> dict[str, Any]:
    from huggingface_hub import HfApi, hf_hub_download

    # the environment's alone: never the token that some other tool left in a file
    token: str | bool = os.environ.get("HF_TOKEN") or False
    info = HfApi(token=token).model_info(request["id"], revision=request["revision"], files_metadata=True)
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
    names = wanted(list(siblings), trust_remote_code=request["trust_remote_code"])
    folder = Path(request["folder"])
    chosen = [name for name in names if name.endswith(".safetensors") == request["weights"]]
    total = sum(siblings[name].size or 0 for name in chosen)
    room = shutil.disk_usage(folder).free
    if total > room:
        raise StepError(
            f"`{request['id']}` is {total / 1e9:.1f} GB, the store's disk has {room / 1e9:.1f} GB left",
            hint="`forge store gc` makes room",
        )
    over = threading.Event()
    reporter = threading.Thread(target=_report, args=(folder, total, over), daemon=True)
    reporter.start()
    try:
        for name in chosen:
            path = hf_hub_download(request["id"], name, revision=info.sha, local_dir=folder, token=token)
            _check(Path(path), siblings[name])
    finally:
        over.set()
        reporter.join()  # the answer is the last line about this request
    return {"commit": info.sha, "files": names}


def _check(path: Path, sibling: Any) -> None:
    """Compare a file with what the hub says of it; one that is not it is taken away, to be fetched again."""
    size, told = path.stat().st_size, getattr(sibling.lfs, "sha256", None) or ""
    wrong = sibling.size is not None and size != sibling.size
    if not wrong and len(told) == _SHA256:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
        wrong = digest.hexdigest() != told
    if wrong:
        path.unlink()
        raise StepError(f"`{path.name}` came damaged: it is not what the hub says of it", hint="build again")


def _report(folder: Path, total: int, over: threading.Event) -> None:
    while not over.wait(_EVERY):
        done = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        _say({"done": min(done, total), "total": total})


def _in_words(error: Exception, request: dict[str, Any]) -> tuple[str, str]:
    """Return what went wrong, and what to do about it."""
    from huggingface_hub import constants, errors

    name, home = f"`{request['id']}`", f"`{constants.ENDPOINT}`"
    if isinstance(error, errors.GatedRepoError):
        return f"model {name} is gated", "agree to its licence on its page, and set `HF_TOKEN`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no model {name} at {home}, or it is private", "a private one needs `HF_TOKEN`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"model {name} has no revision `{request['revision']}`", "its page lists branches, tags and commits"
    if isinstance(error, errors.HfHubHTTPError):
        status = getattr(error.response, "status_code", "?")
        return f"{home} answered with status {status} for {name}", "build again, or set `HF_ENDPOINT` to a mirror"
    if isinstance(error, OSError) or "connect" in type(error).__name__.lower():
        return (
            f"{home} can't be reached: {type(error).__name__}: {error}",
            "set `HF_ENDPOINT` to a mirror, or build this step where there is a network and share the store",
        )
    return f"fetching {name} failed: {type(error).__name__}: {error}", "build again"


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
