"""Time series: reading and reducing CSV files in a build, beside reading alone; reducing, beside tsdownsample."""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

FILES = 1000
POINTS = 5000
KEPT = 256
MANIFEST = f"""
[sources.series]
use = "series.csv"
path = "csv/*.csv"
reduce = {{ points = {KEPT} }}
"""
# the fastest of Polars' ways here: one scan over all files; a thread pool of `read_csv` takes a tenth longer
READ = "import glob, polars; polars.scan_csv(sorted(glob.glob('csv/*.csv')), include_file_paths='file').collect()"
PAIRS = 5


def series(folder: Path) -> None:
    """Print both ratios."""
    write_files(folder / "csv")
    (folder / "series.toml").write_text(MANIFEST)
    pairs = []
    for attempt in range(PAIRS):
        store = folder / f"store{attempt}"
        build = [sys.executable, "-m", "forge", "build", "series.toml", "--store", str(store)]
        peer = spent([sys.executable, "-c", READ], folder)
        ours = spent(build, folder)
        pairs.append((peer, ours))
        shutil.rmtree(store)
    print(f"csv to {KEPT} points   {FILES:,} files of {POINTS:,} points")
    for place, clock in enumerate(("wall", "cpu")):
        ratio = statistics.median(ours[place] / peer[place] for peer, ours in pairs)
        ours, peer = (statistics.median(pair[side][place] for pair in pairs) for side in (1, 0))
        print(f"  {clock}             build {ours:5.2f} s   only reading {peer:5.2f} s   ratio {ratio:.2f}")
    for method in ("minmaxlttb", "lttb"):
        ratio, milliseconds = downsampling(method)
        print(f"  {method:<16} {milliseconds:5.0f} ms   × bare tsdownsample {ratio:.2f}")


def write_files(folder: Path) -> None:
    """Write random walks in the shape of plant exports."""
    import numpy as np

    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    stamps = np.datetime64("2024-01-01T00:00:00") + np.arange(POINTS) * np.timedelta64(5, "m")
    front = [f"{index},{str(stamp).replace('T', ' ')}," for index, stamp in enumerate(stamps)]
    for number in range(FILES):
        values = random.normal(size=POINTS).cumsum()
        lines = [f"{start}P{number:04d}.PV,{value:.10f}\n" for start, value in zip(front, values, strict=True)]
        (folder / f"P{number:04d}.PV.csv").write_text(",date,category,value\n" + "".join(lines))


def spent(command: list[str], folder: Path) -> tuple[float, float]:
    """Return the wall and CPU seconds of a command and all it started."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begun, cpu


def downsampling(method: str) -> tuple[float, float]:
    """Return the ratio of the step's CPU time to the bare library's over the same series, and its milliseconds."""
    import numpy as np
    import polars as pl
    import tsdownsample

    from forge_series.downsample import Downsample
    from forge_series.points import schema

    arrays = np.random.default_rng(1).normal(size=(FILES, POINTS)).cumsum(axis=1)
    values = pl.Series("values", list(map(pl.Series, arrays)), dtype=pl.List(pl.Float64))
    other = [pl.lit(None).cast(kind).alias(name) for name, kind in schema().items() if name != "values"]
    table = pl.DataFrame([values]).select(*other, "values").select(list(schema()))
    bare = {"minmaxlttb": tsdownsample.MinMaxLTTBDownsampler, "lttb": tsdownsample.LTTBDownsampler}[method]()
    step = Downsample(KEPT, method)

    def alone() -> list[object]:
        return [array[bare.downsample(array, n_out=KEPT)] for array in arrays]

    pairs = [(took(alone), took(lambda: step.transform(table.lazy()).collect())) for _ in range(9)]
    return statistics.median(b / a for a, b in pairs), statistics.median(b for _, b in pairs) * 1000


def took(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    begun = time.process_time()
    work()
    return time.process_time() - begun
