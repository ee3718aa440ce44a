"""Write a safetensors file that is laid out like another one, tensor by tensor."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from forge import StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LENGTH = 8
"""Bytes of the number that says how long the header is (little-endian), at the start of a file."""

TYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
"""The types of a base's weights, by safetensors' names."""


def read_layout(path: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return where the data begin, and ``dtype``, ``shape`` and ``data_offsets`` of each tensor, in their order."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        size = path.stat().st_size
        if not 0 < length <= size - _LENGTH:
            raise StepError(f"`{path.name}` is no safetensors file, or it is cut short")
        layout = json.loads(file.read(length))
    layout.pop("__metadata__", None)
    begin = _LENGTH + length
    entries = dict(sorted(layout.items(), key=lambda item: item[1]["data_offsets"]))
    last = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    if begin + last > size:
        raise StepError(f"`{path.name}` is cut short: it holds {size} bytes of {begin + last}")
    return begin, entries


def rewrite(source: Path, target: Path, change: Callable[[str, Any], Any | None]) -> Iterator[int]:
    """Copy *source* to *target* with the tensors that *change* returns, and yield the bytes of each tensor done.

    One tensor is in memory at a time; what does not change is copied by the kernel. A new tensor has the type and
    shape of the old one.
    """
    import numpy as np
    import torch

    begin, entries = read_layout(source)
    with source.open("rb") as old, target.open("wb", buffering=0) as new:
        _copy(old.fileno(), new.fileno(), 0, begin)
        for name, entry in entries.items():
            start, stop = (begin + offset for offset in entry["data_offsets"])
            kind = TYPES.get(entry["dtype"])
            tensor = None
            if start < stop and kind:
                raw = np.memmap(source, np.uint8, "c", start, (stop - start,))
                tensor = change(name, torch.from_numpy(raw).view(getattr(torch, kind)).view(entry["shape"]))
            elif not kind:
                change(name, entry["dtype"])
            if tensor is None:
                _copy(old.fileno(), new.fileno(), start, stop)
            else:
                data = memoryview(tensor.contiguous().view(-1).view(torch.uint8).numpy())
                os.lseek(new.fileno(), start, os.SEEK_SET)
                while data:
                    data = data[new.write(data) :]
            yield stop - start


def _copy(source: int, target: int, start: int, stop: int) -> None:
    """Copy a range of bytes to the same place."""
    os.lseek(target, start, os.SEEK_SET)
    while start < stop:
        done = os.sendfile(target, source, start, stop - start)
        if not done:
            raise StepError("a shard of the base ends before its last tensor")
        start += done
