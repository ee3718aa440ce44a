"""The engine's figures: a graph of trivial steps under forge, make and ninja, in one run; files entering the store.

A graph of N steps is a tenth of them in a chain, the rest fanned out from its end, and one that joins them all.
Every step is a shell command that drops comment lines from its inputs and leaves a line in a log, by which runs are
counted. Each time is one of a whole process, paired with a bare `python -S -c pass` right before it.
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

FORGE = [str(Path(sys.executable).with_name("forge"))]
BARE = [os.path.realpath(sys.executable), "-S", "-c", "pass"]
SIZES = (10, 100, 1000)
RECORDED = {
    "noop": "recorded peers at 10/100/1000: Snakemake 90/113/162, DVC 91/254/3292, pytask 53/139/798, redun 196/562",
    "cold": "recorded peers at 100: DVC 355 ms a step, Snakemake 36, redun 85, pytask 30",
}
GIB = 1 << 30
SMALL = 10_000
_TAKEN = (("1 GiB", "big.bin", ""), ("1 GiB, link", "big.bin", "link = true"), ("10,000 files", "small", ""))


def engine(folder: Path) -> None:
    """Print a table of what builds of graphs cost."""
    print(f"{'N':>6} {'tool':<6} {'cold ms/step':>13} {'no-op':>14} {'leaf':>16} {'same':>14} {'revert':>14}")
    for count in SIZES:
        _forge(folder / f"forge{count}", count)
        for tool in ("make", "ninja"):
            if shutil.which(tool):
                _peer(folder / f"{tool}{count}", count, tool)
    print("ratios to bare python; runs in brackets")
    for line in RECORDED.values():
        print(line)
    pairs = [_pair([*FORGE, "--help"], folder) for _ in range(9)]
    bare, ours = _medians(pairs)
    print(f"forge --help {ours * 1e3:.0f} ms; 3 × bare + 40 ms is {3e3 * bare + 40:.0f} ms")


def slope(folder: Path) -> None:
    """Print what each further step adds to a build in which nothing changed."""
    times = {}
    for count in (1000, 10_000):
        place = folder / f"slope{count}"
        _project(place, count)
        for _ in range(2):
            _run([*FORGE, "build", "forge.toml"], place)
            time.sleep(0.2)
        times[count] = _medians([_pair([*FORGE, "build", "forge.toml"], place) for _ in range(7)])[1]
    each = (times[10_000] - times[1000]) / 9000 * 1e6
    print(f"no-op of 10,000 steps {times[10_000] * 1e3:.0f} ms, {each:.1f} µs for each further step")


def ingest(folder: Path) -> None:
    """Print how fast files enter the store, beside hashing them alone."""
    from blake3 import blake3

    folder.mkdir(exist_ok=True)
    (folder / "big.bin").write_bytes(os.urandom(1 << 20) * 1024)
    (folder / "small").mkdir()
    for number in range(SMALL):
        (folder / "small" / f"{number}.txt").write_text(f"file {number}\n" * 50)
    for name, path, more in _TAKEN:
        (folder / "forge.toml").write_text(f'[sources.files]\nuse = "files.any"\npath = "{path}"\n{more}\n')
        empty = _timed([*FORGE, "--help"], folder)
        begun = time.perf_counter()
        if path == "big.bin":
            blake3(max_threads=blake3.AUTO).update_mmap(folder / path)
        alone = time.perf_counter() - begun
        shutil.rmtree(folder / "store", ignore_errors=True)
        time.sleep(2.1)  # files that changed later are hashed twice: they could change unseen
        whole = _timed([*FORGE, "build", "forge.toml"], folder)
        step = json.loads(_run([*FORGE, "show", "forge.toml", "files", "--json"], folder))["seconds"]
        rate = (
            f"hashing alone {alone:.2f} s, × {alone / step:.2f}"
            if path == "big.bin"
            else f"{SMALL / step:,.0f} files/s"
        )
        print(f"{name:<13} build {whole:.2f} s (start {empty:.2f}), step {step:.2f} s   {rate}")
        (folder / "big.bin").chmod(0o644)


# ---------------------------------------------------------------- one tool at one size


def _forge(place: Path, count: int) -> None:
    build = [*FORGE, "build", "forge.toml"]
    _project(place, count)
    cold = _timed(build, place)
    time.sleep(0.2)
    _run(build, place)
    noop = _scenario(build, place, lambda _: None, 9)
    first = (place / "in/leaf0.txt").read_text()
    leaf = _scenario(build, place, lambda i: _write(place / "in/leaf0.txt", f"leaf {i}\n"), 5)
    same = _scenario(build, place, lambda i: _write(place / "in/root.txt", f"# {i}\nroot\n"), 5)
    revert = _scenario(build, place, lambda i: _write(place / "in/leaf0.txt", first if i % 2 else "leaf 0\n"), 5)
    print(f"{count:>6} {'forge':<6} {cold / count * 1e3:>13.1f} {noop:>14} {leaf:>16} {same:>14} {revert:>14}")


def _peer(place: Path, count: int, tool: str) -> None:
    steps = _inputs(place, count)
    _makefile(place, steps) if tool == "make" else _ninjafile(place, steps)
    build = [tool, "-s", "-j2"] if tool == "make" else [tool, "--quiet", "-j2"]
    cold = _timed(build, place)
    noop = _scenario(build, place, lambda _: None, 9)
    leaf = _scenario(build, place, lambda i: _write(place / "in/leaf0.txt", f"leaf {i}\n"), 5)
    same = _scenario(build, place, lambda i: _write(place / "in/root.txt", f"# {i}\nroot\n"), 3)
    print(f"{count:>6} {tool:<6} {cold / count * 1e3:>13.1f} {noop:>14} {leaf:>16} {same:>14}")


def _scenario(build: list[str], place: Path, change: object, times: int) -> str:
    """Return the median ratio to bare Python after each change, and the runs of the last."""
    ratios = []
    runs = 0
    for attempt in range(times):
        change(attempt)  # type: ignore[operator]
        time.sleep(0.1)
        before = _runs(place)
        bare, ours = _pair(build, place)
        ratios.append(ours / bare)
        runs = _runs(place) - before
    return f"{statistics.median(ratios):.1f} × ({runs})"


def _inputs(place: Path, count: int) -> list[tuple[str, list[str]]]:
    """Write the inputs and return each step with what it reads."""
    chain = max(2, count // 10)
    (place / "in").mkdir(parents=True)
    (place / "out").mkdir()
    _write(place / "in/root.txt", "# 0\nroot\n")
    steps = [(f"c{i}", [f"out/c{i - 1}.txt" if i else "in/root.txt"]) for i in range(chain)]
    for i in range(count - chain - 1):
        _write(place / f"in/leaf{i}.txt", f"leaf {i}\n")
        steps.append((f"f{i}", [f"out/c{chain - 1}.txt", f"in/leaf{i}.txt"]))
    steps.append(("join", [f"out/f{i}.txt" for i in range(count - chain - 1)]))
    return steps


def _project(place: Path, count: int) -> None:
    steps = _inputs(place, count)
    sources = {path: "in_" + Path(path).stem for _, reads in steps for path in reads if path.startswith("in/")}
    text = [f'[sources.{name}]\nuse = "files.any"\npath = "{path}"\n' for path, name in sources.items()]
    for name, reads in steps:
        needs = json.dumps([sources.get(path) or Path(path).stem for path in reads])
        command = json.dumps(_command(name, '"$@"', '"$OUT/out.txt"', place))
        text.append(f'[transforms.{name}]\nuse = "run.command"\nfrom = {needs}\ncommand = {command}\n')
    text.append('[exporters.result]\nuse = "files.copy"\nfrom = "join"\nto = "out/join.txt"\n')
    (place / "forge.toml").write_text("\n".join(text))


def _makefile(place: Path, steps: list[tuple[str, list[str]]]) -> None:
    lines = ["all: out/join.txt"]
    for name, reads in steps:
        lines += [f"out/{name}.txt: {' '.join(reads)}", "\t" + _command(name, "$^", "$@", place)]
    (place / "Makefile").write_text("\n".join(lines) + "\n")


def _ninjafile(place: Path, steps: list[tuple[str, list[str]]]) -> None:
    lines = []
    for name, reads in steps:
        inner = _command(name, "$in", "$out.new", place)
        keep = "cmp -s $out.new $out && rm $out.new || mv $out.new $out"
        lines += [f"rule {name}", f"  command = {inner}; {keep}", "  restat = 1"]
        lines.append(f"build out/{name}.txt: {name} {' '.join(reads)}")
    (place / "build.ninja").write_text("\n".join(lines) + "\n")


def _command(name: str, reads: str, writes: str, place: Path) -> str:
    return f"grep -hv '^#' {reads} > {writes}; echo {name} >> {place}/runs.log"


def _runs(place: Path) -> int:
    path = place / "runs.log"
    return path.read_text().count("\n") if path.exists() else 0


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _pair(command: list[str], place: Path) -> tuple[float, float]:
    return _timed(BARE, place), _timed(command, place)


def _medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    bare, ours = zip(*pairs, strict=True)
    return statistics.median(bare), statistics.median(ours)


def _timed(command: list[str], place: Path) -> float:
    begun = time.perf_counter()
    _run(command, place)
    return time.perf_counter() - begun


def _run(command: list[str], place: Path) -> str:
    place.mkdir(exist_ok=True)
    return subprocess.run(command, cwd=place, check=True, capture_output=True, text=True).stdout
