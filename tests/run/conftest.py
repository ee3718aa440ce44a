"""What tests of the cluster's side share."""

import os
import shutil
import sys
from pathlib import Path

import pytest

COMMANDS = ("sbatch", "squeue", "scontrol", "scancel", "sacct", "sinfo")


@pytest.fixture
def fake_slurm(tmp_path):
    """Return the folder of a Slurm without daemons, with the environment that finds it."""
    place = tmp_path / "fake"
    (place / "bin").mkdir(parents=True)
    text = (Path(__file__).parent / "fake_slurm.py").read_text()
    shutil.copy(Path(__file__).parent / "fake_slurm.py", place)
    for name in COMMANDS:
        (place / "bin" / name).write_text(f"#!{sys.executable}\n{text}")
        (place / "bin" / name).chmod(0o755)
    return place


@pytest.fixture
def on_fake_slurm(fake_slurm):
    """Return the variables with which Slurm's commands are those of the fake."""
    return {"FAKE_SLURM": str(fake_slurm), "PATH": f"{fake_slurm}/bin{os.pathsep}{os.environ['PATH']}"}
