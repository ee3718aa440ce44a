"""What the guide to Slurm shows runs, and its profile is one."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from forge.plan.load import load
from forge.plan.profile import Profile, read_profile
from forge.run.slurm.script import asked_for

from .conftest import ROOT
from .work import step

GUIDE = (ROOT / "docs/guides/slurm.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)


def test_the_guide_runs(slurm, project):
    # its cluster lies in the project, and a socket's address is short: so is the name of this test
    shutil.copytree(ROOT / "slurm", project.root / "slurm", ignore=shutil.ignore_patterns("__pycache__"))
    project.steps(step("one"), step("long", "one", pause=5.0), executor="\n")
    *here, alone = blocks("sh")
    script = "\n".join(here).replace("forge cancel", "squeue --noheader --format=%j\nforge cancel")
    done = run(project, script.replace("forge logs", "sleep 3\nforge logs"))
    assert 0 == done.returncode, done.stdout + done.stderr
    other = run(project, alone.replace("forge build", "sinfo\nforge build") + "rm -r store\n", SLURM_CONF="/nowhere")
    assert (0, True) == (other.returncode, "A40" in other.stdout), other.stdout + other.stderr


def run(project, script, **environment):
    path = f"{Path(sys.executable).parent}{os.pathsep}{project.environment['PATH']}"
    return subprocess.run(
        ["bash", "-ec", script],
        cwd=project.root,
        env={**project._environment(environment), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_profile_of_the_guide_is_one_and_says_what_the_cluster_of_the_design_takes(tmp_path):
    profile, resources = (tomllib.loads(block) for block in blocks("toml"))
    (tmp_path / "forge.toml").write_text('[sources.raw]\nuse = "files.any"\npath = "x"\n')
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm/guide.toml").write_text(blocks("toml")[0])
    for name in ("a40", "local"):
        shutil.copy(ROOT / f"slurm/{name}.toml", tmp_path / "slurm")
    manifest = load(tmp_path / "forge.toml")
    found = read_profile(manifest, "guide")
    assert ("A40", {"device": "cuda"}) == (found.resources.partition, found.facts)
    assert {"gpus", "cpus", "memory", "time", "partition", "extra"} == set(resources["trainers"]["lora"]["resources"])
    assert profile["executor"]["environment"] == found.environment
    a40 = read_profile(manifest, "a40")
    lora = type("Step", (), {"kind": "trainer", "resources": type(a40.resources)()})()
    options = asked_for(a40.resources_of(lora))
    assert {"--partition=A40", "--gres=gpu:1", "--cpus-per-task=8", "--mem=32768M"} <= set(options)
    assert "1" == a40.environment["HF_HUB_OFFLINE"]
    assert "conda activate forge" in a40.setup
    assert "slurm" == read_profile(manifest, "local").use


def test_the_guide_names_the_defaults_that_hold():
    defaults = Profile()
    for name in ("most", "notice", "grace", "retries", "poll"):
        [row] = [line for line in GUIDE.splitlines() if line.startswith(f"| `{name}` |")]
        assert f"({getattr(defaults, name)})" in row.replace("`", ""), row
    assert f"`shard` rows ({defaults.shard})" in GUIDE
    assert f"tasks at a time ({defaults.at_once})" in GUIDE
