"""Cleaning: the student pipeline and one simple recipe, each beside a plain Python script over the same records.

Data-Juicer runs the recipe too where the variable FORGE_BENCH_DATA_JUICER names the folder that holds `dj-process`.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
FORGE = [sys.executable, "-m", "forge"]
RECORDS = 79_423
PAIRS = 3
DATA_JUICER = 75.9 / 8.5
"""Seconds of Data-Juicer 1.6.1 by those of plain Python over the simple recipe, from `shared/bench.md`."""
RECIPE = """
[sources.rows]
use = "files.jsonl"
path = "in/texts.jsonl"

[transforms.band]
use = "text.length-band"
from = "rows"
column = "text"
least = 80

[transforms.anonymous]
use = "text.anonymise"
from = "band"
columns = ["text"]

[transforms.unique]
use = "text.deduplicate"
from = "anonymous"
column = "text"
near = 1.0
"""


@attrs.frozen
class Spent:
    """Hold what a command and all it started took: seconds, and MiB of its largest process."""

    wall: float
    cpu: float
    memory: int
    output: bytes


def clean(folder: Path) -> None:
    """Print seconds and ratios of the student cleaning, store and row ledger included, and of the simple recipe."""
    script = SHARED / "data" / "scripts" / "make_corpus.py"
    if not script.exists():
        print("cleaning           not run: ../shared/data is not here")
        return
    corpus = folder / "corpus"
    spent([sys.executable, str(script), "--out", str(corpus), "--n", str(RECORDS), "--seed", "7"])
    build = [*FORGE, "build", "manifests/student.toml", "unified_min", "--json", "--set", f"data={corpus}"]
    script = SHARED / "bench/pipeline/clean_baseline.py"
    plain = [sys.executable, str(script), "--source", str(corpus), "--out", str(folder / "plain")]
    pairs = interleaved(build, plain, folder / "store")
    report("cleaning", pairs)
    print(f"  seconds by step  {by_step(pairs)}")
    print(f"  equal rows       {equal_rows(folder)}")
    shutil.rmtree(folder / "store")
    simple(folder)


def simple(folder: Path) -> None:
    """Time length, personal data and exact repeats over the unified rows, as texts in one file."""
    script = [sys.executable, str(SHARED / "bench/pipeline/clean_tools.py")]
    spent([*script, "prepare", "--rows", str(folder / "plain/unified.jsonl"), "--work", str(folder)])
    (folder / "recipe.toml").write_text(RECIPE)
    build = [*FORGE, "build", str(folder / "recipe.toml"), "--json"]
    pairs = interleaved(build, [*script, "python", "--work", str(folder)], folder / "store")
    ratio = report("simple recipe", pairs)
    print(f"  seconds by step  {by_step(pairs)}")
    peer = os.environ.get("FORGE_BENCH_DATA_JUICER")
    if peer is None:
        print(
            f"  Data-Juicer      not run here: it took {DATA_JUICER:.1f} × plain Python, so × {ratio * DATA_JUICER:.0f}"
        )
        return
    took = spent([*script, "dj", "--work", str(folder), "--bin", peer]).wall
    ours = statistics.median(mine.wall for mine, _ in pairs)
    print(f"  Data-Juicer      {took:6.1f} s   × {took / ours:.0f} by the clock")


def interleaved(build: list[str], plain: list[str], store: Path) -> list[tuple[Spent, Spent]]:
    """Run the build, each time into a new store, and the script in turns."""
    pairs = []
    for _ in range(PAIRS):
        shutil.rmtree(store, ignore_errors=True)
        pairs.append((spent([*build, "--store", str(store)]), spent(plain)))
    return pairs


def report(name: str, pairs: list[tuple[Spent, Spent]]) -> float:
    """Print both sides and return the ratio of wall times."""
    ratio = statistics.median(plain.wall / ours.wall for ours, plain in pairs)
    speed = statistics.median(RECORDS / ours.wall for ours, _ in pairs)
    print(f"{name:<18} {speed:8.0f} rows/s   {RECORDS:,} records   × plain Python {ratio:.1f} by the clock")
    for side, what in enumerate(("forge", "plain Python")):
        wall, cpu = (statistics.median(getattr(pair[side], clock) for pair in pairs) for clock in ("wall", "cpu"))
        memory = max(pair[side].memory for pair in pairs)
        print(f"  {what:<16} {wall:6.1f} s   {cpu:6.1f} CPU s   largest process {memory:,} MiB")
    return ratio


def by_step(pairs: list[tuple[Spent, Spent]]) -> str:
    """Return the median seconds of each step."""
    runs: list[list[dict[str, Any]]] = [json.loads(ours.output)["steps"] for ours, _ in pairs]
    steps = zip(*runs, strict=True)
    return "   ".join(f"{step[0]['name']} {statistics.median(s['seconds'] for s in step):.1f}" for step in steps)


def equal_rows(folder: Path) -> str:
    """Compare the trimmed conversations with those of the plain script, whose rules are fewer and simpler."""
    import polars as pl

    result = folder / "min"
    build = [*FORGE, "get", "manifests/student.toml", "unified_min", str(result), "--set", f"data={folder / 'corpus'}"]
    spent([*build, "--store", str(folder / "store")])
    ours = pl.read_ipc(next(result.rglob("rows.arrow"))).select("id", pl.col("conversation").alias("ours"))
    plain = pl.read_ndjson(folder / "plain/unified_min.jsonl").select("id", "conversation")
    both = ours.join(plain, on="id", how="full", coalesce=True)
    equal = both.filter(pl.col("ours") == pl.col("conversation")).height
    shared = both.drop_nulls().height
    return f"{equal:,} of {shared:,} in both   forge {ours.height:,}   plain Python {plain.height:,}"


def spent(command: list[str]) -> Spent:
    """Run a command and return what it took."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _WATCH, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = process.communicate()
    wall = time.perf_counter() - begun
    if process.returncode:
        sys.exit(f"{' '.join(command)}\n{errors.decode()}")
    cpu, memory = json.loads(errors.splitlines()[-1])
    return Spent(wall, cpu, memory // 1024, output)


_WATCH = """
import json, resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stderr=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss]), file=sys.stderr)
sys.exit(code)
"""
"""A process of its own for each command: the memory of the largest child counts from its parent's beginning."""
