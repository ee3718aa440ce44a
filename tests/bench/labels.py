"""Print what labelling costs: rows a second, CPU a row, the journal's loading, a relabelling after ten edits.

usage: labels.py [ROWS]      (19,250 by default; the throughput is measured over a tenth of them)

The provider is a process of its own that answers after 200 ms. On a busy machine read the CPU, not the clock.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import polars as pl

import forge
from forge.run.labels import label_rows
from forge.store.journal import Journal
from forge_label.endpoint import OpenAI

ROOT = Path(__file__).parents[2]
PROVIDER = ROOT / "tests/plugins/provider.py"
WINDOW = 64


def main() -> None:
    """Measure and print."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 19_250
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
        throughput(Path(folder), rows // 10)
        relabel(Path(folder), rows)


def throughput(folder: Path, rows: int) -> None:
    """Label through a provider that answers in 200 ms."""
    with provider("--delay", "0.2") as port:
        labeler, table = labeler_at(port, WINDOW), table_of(rows)
        label_rows(labeler, table[:1], Journal(folder / "slow"), forge.LocalRun(scratch=folder))  # imports
        begun, cpu = time.perf_counter(), cpu_seconds()
        label_rows(labeler, table, Journal(folder / "slow"), forge.LocalRun(scratch=folder))
        seconds, used = time.perf_counter() - begun, cpu_seconds() - cpu
    most = WINDOW / 0.2
    print(f"throughput    {rows / seconds:8.0f} rows/s of {most:.0f} possible, {used / rows * 1000:.2f} ms CPU a row")
    again, cpu = time.perf_counter(), cpu_seconds()
    label_rows(labeler, table, Journal(folder / "slow"), forge.LocalRun(scratch=folder))
    print(f"from journal  {rows / (time.perf_counter() - again):8.0f} rows/s, "
          f"{(cpu_seconds() - cpu) / rows * 1000:.2f} ms CPU a row")  # fmt: skip


def relabel(folder: Path, rows: int) -> None:
    """Load a journal of so many rows, then label them again with ten edited."""
    with provider() as port:
        labeler, table = labeler_at(port, WINDOW), table_of(rows)
        begun, cpu = time.perf_counter(), cpu_seconds()
        label_rows(labeler, table, Journal(folder / "fast"), forge.LocalRun(scratch=folder))
        seconds, used = time.perf_counter() - begun, cpu_seconds() - cpu
        print(f"no waiting    {rows / seconds:8.0f} rows/s, {used / rows * 1000:.2f} ms CPU a row, load {load()}")
        begun, cpu = time.perf_counter(), time.process_time()
        found = len(Journal(folder / "fast"))
        size = sum(path.stat().st_size for path in (folder / "fast").iterdir())
        print(f"journal       {found:8,} replies ({size / 1e6:.1f} MB) loaded in {time.perf_counter() - begun:.3f} s, "
              f"{time.process_time() - cpu:.3f} s CPU")  # fmt: skip
        before = asked(port)
        edited = table.with_columns(
            pl.when(pl.int_range(pl.len()) % (rows // 10) == 7).then(pl.lit("edited ") + pl.col("text"))
            .otherwise(pl.col("text")).alias("text")
        )  # fmt: skip
        begun = time.perf_counter()
        label_rows(labeler, edited, Journal(folder / "fast"), forge.LocalRun(scratch=folder))
        print(f"ten edited    {asked(port) - before:8} requests, {time.perf_counter() - begun:.2f} s")


def table_of(rows: int) -> pl.DataFrame:
    """Return dialogues of about a thousand characters."""
    return pl.DataFrame(
        {"text": [f"{number}: 我最近总是睡不着，也不想见人。" + "真的很累。" * 150 for number in range(rows)]}
    )


def labeler_at(port: int, window: int) -> OpenAI:
    """Return the student labeler, asking the provider at *port*."""
    return OpenAI(
        base_url=f"http://127.0.0.1:{port}/v1",
        model="fake",
        provider="fake",
        schema=forge.File("student.json", ROOT / "manifests/schemas/student.json"),
        prompt_text="Rate this dialogue by {{ schema }}:\n{{ text }}",
        column="text",
        concurrency=window,
    )


class provider:  # noqa: N801 - a context, used as a function
    """Run the provider and give its port."""

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments

    def __enter__(self) -> int:
        """Start it."""
        self.process = subprocess.Popen([sys.executable, PROVIDER, *self.arguments], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.process.kill()
        self.process.communicate()


def asked(port: int) -> int:
    """Return how many requests the provider has seen."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/log") as answer:
        count: int = json.load(answer)["requests"]
    return count


def cpu_seconds() -> float:
    """Return user and system time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def load() -> str:
    """Return how busy the machine is."""
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
