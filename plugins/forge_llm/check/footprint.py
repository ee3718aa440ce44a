"""Measure local inference in a process of its own: how fast a GGUF file reads and writes, and the memory that it takes.

Run as ``python -m forge_llm.check.footprint``: a JSON request on stdin, a JSON answer on stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from forge import StepError
from forge_llm.threads import AWAKE, SPINS

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 32
"""Tokens that are written: enough for a rate."""

_MEGABYTE = 1_000_000


def measure(path: Path, ids: Sequence[int], *, context: int, threads: int) -> dict[str, float]:
    """Load the file in a process of its own, read *ids*, write some tokens, and return rates and the largest memory."""
    request = {"path": str(path.absolute()), "ids": list(ids), "context": context, "threads": threads}
    words, environment = [sys.executable, "-m", __name__], os.environ | {SPINS: AWAKE}
    done = subprocess.run(
        words, input=json.dumps(request), capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()
        raise StepError(f"`{path.name}` can't be measured: {last[-1] if last else f'status {done.returncode}'}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Answer one request."""
    from forge_llm.check.local_model import LocalModel

    request = json.load(sys.stdin)
    ids = request["ids"]
    begun = time.perf_counter()
    with LocalModel(Path(request["path"])) as model:
        reader = model.reader(context=request["context"], threads=request["threads"])
        loaded = time.perf_counter()
        token = int(reader.logits_after(ids)[-1].argmax())
        read = time.perf_counter()
        for _ in range(LONGEST):
            ids.append(token)
            token = int(reader.logits_after(ids)[-1].argmax())
        written = time.perf_counter()
    answer = {
        "load_seconds": round(loaded - begun, 3),
        "prompt_tokens_per_second": round((len(ids) - LONGEST) / (read - loaded), 1),
        "tokens_per_second": round(LONGEST / (written - read), 1),
        "peak_memory_mb": round(peak_memory() / _MEGABYTE, 1),
    }
    print(json.dumps(answer))  # noqa: T201 - the answer


def peak_memory() -> int:
    """Return the most bytes of memory that this process held; `ru_maxrss` would count its parent's on Linux."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
