"""Read entries of ``dataset_info.json``, and refuse by name what forge has no use for."""

from __future__ import annotations

import json
import os
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

import forge

if TYPE_CHECKING:
    from collections.abc import Mapping

_HUBS = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
_REFUSED_COLUMNS = {
    "tools": "its tool calls",
    "images": "its pictures",
    "videos": "its videos",
    "audios": "its sounds",
    "chosen": "its ranked answers",
    "rejected": "its ranked answers",
    "kto_tag": "its judged answers",
}
_ENDINGS = (".json", ".jsonl", ".csv", ".parquet")
_FEW = 12


@attrs.frozen
class Entry:
    """Hold what ``dataset_info.json`` says of one data set, with LLaMA-Factory's defaults."""

    name: str
    paths: tuple[Path, ...]
    formatting: str
    columns: Mapping[str, str]
    tags: Mapping[str, str]

    def column(self, name: str) -> str | None:
        """Return the column that holds *name*."""
        default = {"prompt": "instruction", "query": "input", "response": "output", "messages": "conversations"}
        return self.columns.get(name, default.get(name))

    def tag(self, name: str) -> str:
        """Return the field or role that is called *name*."""
        default = {
            "role_tag": "from",
            "content_tag": "value",
            "user_tag": "human",
            "assistant_tag": "gpt",
            "system_tag": "system",
        }
        return self.tags.get(name, default.get(name, name))


def entry_of(info: Path, name: str) -> Entry:
    """Return the entry *name* of the registry *info*; raises StepError that says why it can't be imported."""
    table = _registry(info)
    if name not in table:
        close = get_close_matches(name, table, n=1, cutoff=0.6)
        local = [each for each, entry in table.items() if isinstance(entry, dict) and "file_name" in entry]
        there = ", ".join(f"`{each}`" for each in sorted(local)[:_FEW])
        hint = f"did you mean `{close[0]}`?" if close else f"among those with files there is {there}"
        raise forge.StepError(f"`{info.name}` has no data set `{name}`", hint=hint)
    entry = table[name]
    if not isinstance(entry, dict):
        raise _refused(name, "its entry is not a table", None)
    columns, tags = entry.get("columns") or {}, entry.get("tags") or {}
    if not all(isinstance(each, dict) and all(isinstance(v, str) for v in each.values()) for each in (columns, tags)):
        raise _refused(name, "`columns` and `tags` must hold strings", None)
    _refuse(name, entry, columns)
    return Entry(name, _paths(info.parent, name, entry["file_name"]), entry.get("formatting", "alpaca"), columns, tags)


def _refuse(name: str, entry: Mapping[str, Any], columns: Mapping[str, str]) -> None:
    hub = next((key for key in _HUBS if key in entry), None)
    if "file_name" not in entry or not isinstance(entry["file_name"], str):
        hint = "download it, and name the file by `file_name`"
        raise _refused(name, f"it lies on a hub (`{hub}`)" if hub else "its entry names no `file_name`", hint)
    if entry.get("formatting", "alpaca") not in ("alpaca", "sharegpt"):
        raise _refused(name, f"its formatting `{entry['formatting']}` is neither `alpaca` nor `sharegpt`", None)
    if entry.get("ranking"):
        raise _refused(name, "`ranking`: its ranked answers are not for training on one answer", None)
    for column, what in _REFUSED_COLUMNS.items():
        if column in columns:
            raise _refused(name, f"`columns.{column}`: {what} can't be trained on here", None)
    if "num_samples" in entry:
        raise _refused(name, "`num_samples`: its sample is drawn anew each time", "`text.split` has `limits`")


def _refused(name: str, why: str, hint: str | None) -> forge.StepError:
    return forge.StepError(f"data set `{name}` can't be imported: {why}", hint=hint)


def _registry(info: Path) -> dict[str, Any]:
    try:
        table = json.loads(info.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise forge.StepError(f"`{info.name}` is not JSON: {error}") from None
    if not isinstance(table, dict):
        raise forge.StepError(f"`{info.name}` is not a table of data sets")
    return table


def _paths(folder: Path, name: str, file_name: str) -> tuple[Path, ...]:
    """Return the files that an entry names; whether they may be read, the fence of the project says."""
    # a file is named by where it lies beside the registry, also where that says so from the root
    own = os.path.relpath(file_name, os.path.realpath(folder)) if os.path.isabs(file_name) else file_name
    path = folder / own
    found = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path] if path.is_file() else []
    if not found:
        raise _refused(name, f"there is no file `{file_name}` beside the registry", None)
    odd = next((p for p in found if p.suffix.lower() not in _ENDINGS), None)
    if odd is not None and odd.suffix.lower() == ".txt":
        raise _refused(name, "plain text has no answers, it is for pre-training", "`files.text` reads it")
    if odd is not None:
        raise _refused(name, f"`{odd.name}` is none of {', '.join(_ENDINGS)}", None)
    return tuple(found)
