"""Print forge's figures beside bare Python and the plain script that people would write, in one run.

usage: run.py [engine] [ingest] [slope] [clean] [train] [export] [series]      (all but slope by default)

Absolute times move with the machine's load: the ratios are what counts.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cleaning import clean
from engine import engine, ingest, slope
from export import export
from series import series
from training import training

ROOT = Path(__file__).parents[2]
FORGE = [sys.executable, "-m", "forge"]


def main() -> None:
    """Run the parts that are named on the command line."""
    parts = sys.argv[1:] or ["engine", "ingest", "clean", "train", "export", "series"]
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
        for part in parts:
            PARTS[part](Path(folder) / part)


def train(folder: Path) -> None:
    """Time training beside TRL and LLaMA-Factory, then training, export and check of the quickstart manifest."""
    training(folder)
    store = folder / "train"
    command = [*FORGE, "build", "manifests/quickstart.toml", "--store", str(store), "--json"]
    steps = {s["name"]: s for s in _steps(command)}
    log = (store / "logs" / f"{steps['lora']['key']}.log").read_text()
    found = re.search(r"(\d+) tokens in ([\d.]+) s", log)
    speed = f"{int(found.group(1)) / float(found.group(2)):8.0f} tokens/s" if found else "resumed"
    print(f"training           {speed}   {steps['lora']['seconds']:.1f} s with loading and evaluation")
    print(f"merge              {steps['merged']['seconds']:8.1f} s")
    print(f"convert, quantise  {steps['gguf']['seconds']:8.1f} s")
    print(f"check              {steps['receipt']['seconds']:8.1f} s")


def _timed(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _steps(command: list[str]) -> list[dict[str, Any]]:
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return list(json.loads(done.stdout)["steps"])


PARTS = {
    "engine": engine,
    "ingest": ingest,
    "slope": slope,
    "clean": clean,
    "train": train,
    "export": export,
    "series": series,
}

if __name__ == "__main__":
    main()
