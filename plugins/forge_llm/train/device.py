"""Say what a training run will compute on, without importing torch: the answer belongs to the action key."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Device = Literal["cuda", "cpu"]
Backend = Literal["unsloth", "peft"]
Precision = Literal["fp32", "bf16"]

_FAST_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}


def device() -> Device:
    """Return `cuda` where an NVIDIA device stands open to this process."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "cpu"
    return "cuda" if Path("/dev/nvidia0").exists() or any(Path("/dev").glob("nvidia[0-9]*")) else "cpu"


def count() -> int:
    """Return how many NVIDIA devices stand open to this process."""
    if device() == "cpu":
        return 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return len(visible.split(",")) if visible else len(list(Path("/dev").glob("nvidia[0-9]*")))


def cores() -> int:
    """Return how many processor cores stand open to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Return how many bytes of memory can still be taken, what the system would give back for them included."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        there = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass  # no Linux: what the machine has in all
    try:
        bound = Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8").strip()
    except OSError:
        return there
    return min(there, int(bound)) if bound.isdigit() else there


def backend(wanted: Literal["auto", "unsloth", "peft"]) -> Backend:
    """Return the backend that `auto` stands for here: unsloth refuses to load where there is no GPU."""
    if wanted != "auto":
        return wanted
    return "unsloth" if device() == "cuda" and find_spec("unsloth") is not None else "peft"


def precision(wanted: Literal["auto", "fp32", "bf16"]) -> Precision:
    """Return the type that products are computed in: bf16 on a GPU, and where the processor multiplies it itself."""
    if wanted != "auto":
        return wanted
    return "bf16" if device() == "cuda" or _processor_flags() & _FAST_BF16 else "fp32"


def _processor_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":")[1].split()}
