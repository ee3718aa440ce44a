"""Print what Slurm costs beside bare `sbatch`, on a cluster that is started for it on this machine.

usage: slurm.py [SHARDS [ROWS]]      (65 shards of 300 rows)

- from a step's key to its submitted job,
- from a job's end to the next submission,
- a labeler's array through the whole engine, beside the same commands handed to `sbatch --array`, taken in turns.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHAIN = 6
AT_ONCE = 16
ROUNDS = 2

PLUGIN = '''
from __future__ import annotations

import asyncio

import attrs

import forge


@attrs.frozen
class Words:
    rows: int

    def read(self, run):
        yield [{"text": f"word {number}"} for number in range(self.rows)]


@attrs.frozen
class Echo:
    """Answer after 20 ms."""

    concurrency: int = forge.setting(8)

    def request(self, row):
        return forge.Request({"model": "echo"}, [{"role": "user", "content": row["text"]}])

    async def ask(self, request):
        await asyncio.sleep(0.02)
        return forge.Reply(str(len(request.messages[0]["content"])), "echo", 1, 1)

    def parse(self, reply):
        return {"level": int(reply.text)}


@attrs.frozen
class Next:
    number: int

    def make(self, inputs, out, run):
        (out / "text").write_text(str(self.number))


@forge.hookimpl
def forge_register(register):
    register.source("words", Words, version="1")
    register.labeler("echo", Echo, version="1")
    register.transform("next", Next, version="1")
'''

WATCH = '''
"""Write down when keys are known and jobs submitted, in the process of `forge build`."""

import os
import sys
import time

if "TIMES" in os.environ and "build" in sys.argv:
    import forge.plan.keys
    import forge.run.slurm.client

    def timed(cls, method, name):
        real = getattr(cls, method)

        def call(*arguments, **named):
            result = real(*arguments, **named)
            with open(os.environ["TIMES"], "a") as file:
                print(name(arguments, result), time.time(), file=file)
            return result

        setattr(cls, method, call)

    timed(forge.plan.keys.Keys, "action", lambda _, action: f"key {action.key}")
    timed(forge.run.slurm.client.Slurm, "submit", lambda arguments, _: f"submitted {arguments[1].parent.name}")
'''

EXECUTOR = f"""
[executor]
use = "slurm"
light = "cluster"
at_once = {AT_ONCE}
"""


def main() -> None:
    """Measure and print."""
    shards = int(sys.argv[1]) if len(sys.argv) > 1 else 65
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
        cluster = load_cluster().Cluster(Path(folder) / "cluster")
        cluster.start()
        try:
            environment = os.environ | cluster.environment | {"PYTHONPATH": f"{folder}/plugins"}
            write_plugin(Path(folder) / "plugins")
            chain(Path(folder) / "chain", environment)
            array(Path(folder), environment, shards, rows)
        finally:
            cluster.stop()


def chain(project: Path, environment: dict[str, str]) -> None:
    """Build steps that each need the one before."""
    project.mkdir()
    steps = [f'[transforms.s{n}]\nuse = "bench.next"\nfrom = "s{n - 1}"\nnumber = {n}\n' for n in range(1, CHAIN)]
    first = '[sources.s0]\nuse = "bench.words"\nrows = 1\n'
    (project / "forge.toml").write_text(EXECUTOR + first + "".join(steps))
    build(project, environment | {"TIMES": str(project / "times")})
    keys: dict[str, float] = {}
    submitted: dict[str, float] = {}
    for line in (project / "times").read_text().splitlines():
        what, key, at = line.split()
        (keys if what == "key" else submitted).setdefault(key, float(at))
    order = sorted(submitted, key=submitted.__getitem__)
    waits = [submitted[key] - keys[key] for key in order]
    ends = {path.parent.parent.name: path.stat().st_mtime for path in project.glob("store/jobs/*/attempt-*/exit.json")}
    gaps = [submitted[after] - ends[before] for before, after in itertools.pairwise(order)]
    show("key known to job submitted", waits, 0.1)
    show("job ended to next submitted", gaps, 2.0)


def show(what: str, seconds: list[float], goal: float) -> None:
    """Print the median and the worst of some times."""
    ordered = sorted(seconds)
    median, worst = ordered[len(ordered) // 2], ordered[-1]
    print(f"{what:28} median {median * 1000:6.0f} ms, worst {worst * 1000:6.0f} ms of {len(ordered)}, "
          f"goal {goal * 1000:.0f} ms: {median / goal:.2f} of it")  # fmt: skip


def array(folder: Path, environment: dict[str, str], shards: int, rows: int) -> None:
    """Label through the engine, and hand the same commands to `sbatch` by hand, in turns."""
    text = EXECUTOR + f'shard = {rows}\n[sources.words]\nuse = "bench.words"\nrows = {shards * rows}\n'
    text += '[labelers.labels]\nuse = "bench.echo"\nfrom = "words"\n'
    whole, bare = [], []
    for number in range(ROUNDS):
        project = folder / f"array{number}"
        project.mkdir()
        (project / "forge.toml").write_text(text)
        build(project, environment, "words")
        shutil.copytree(project, folder / f"bare{number}", copy_function=shutil.copy)
        begun = time.monotonic()
        build(project, environment)
        whole.append(time.monotonic() - begun)
        bare.append(by_hand(project, folder / f"bare{number}", environment, shards))
        print(f"array of {shards} x {rows} rows      engine {whole[-1]:6.1f} s, sbatch --array {bare[-1]:6.1f} s")
    print(f"array through the engine     {sum(bare) / sum(whole):.0%} as fast as bare sbatch --array, goal 70%")


def by_hand(project: Path, copy: Path, environment: dict[str, str], shards: int) -> float:
    """Submit what the engine submitted, in a copy of the store in which nothing is asked yet."""
    [script] = [s for s in project.glob("store/jobs/*/script-*.sh") if "--array=" in s.read_text()]
    place = copy / script.parent.relative_to(project)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for path in (script.parent / "job.json", script, *script.parent.glob("submission-*.json")):
        (place / path.name).write_text(path.read_text().replace(str(project), str(copy)))
    begun = time.monotonic()
    subprocess.run(["sbatch", str(place / script.name)], env=environment, check=True, capture_output=True)
    ticket = re.fullmatch(r"script-(\w+)\.sh", script.name)[1]
    while len(ended := list(place.glob(f"attempt-{ticket}-*/exit.json"))) < shards:
        time.sleep(0.05)
    seconds = time.monotonic() - begun
    assert {0} == {json.loads(path.read_text())["code"] for path in ended}
    return seconds


def build(project: Path, environment: dict[str, str], *targets: str) -> None:
    """Run `forge build` and demand success."""
    words = [sys.executable, "-m", "forge", "build", "forge.toml", *targets]
    done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def write_plugin(folder: Path) -> None:
    """Install the steps of this file."""
    (folder / "bench-1.dist-info").mkdir(parents=True)
    (folder / "bench-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: bench\nVersion: 1\n")
    (folder / "bench-1.dist-info/entry_points.txt").write_text("[forge]\nbench = bench_plugin\n")
    (folder / "bench_plugin.py").write_text(PLUGIN)
    (folder / "sitecustomize.py").write_text(WATCH)


def load_cluster():
    """Import the script that starts the cluster."""
    spec = importlib.util.spec_from_file_location("forge_bench_cluster", ROOT / "slurm/cluster.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
