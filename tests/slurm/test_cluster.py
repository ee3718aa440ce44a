"""The one-machine cluster starts, loses daemons, and leaves nothing behind."""

import subprocess
import sys

from .conftest import ROOT, load_cluster
from .waiting import wait_until

SCRIPT = str(ROOT / "slurm/cluster.py")


def cluster_command(*words):
    return subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False)


def test_the_script_starts_a_cluster_prints_its_place_and_stops_all_that_it_started(slurm, tmp_path):
    state = tmp_path / "state"
    started = cluster_command("start", str(state), "--nodes", "1")
    assert (0, f"export SLURM_CONF={state}/slurm.conf\n") == (started.returncode, started.stdout), started.stderr
    cluster = load_cluster().Cluster(state)
    assert ["munged", "slurmctld", "cpu1", "gpu1"] == cluster.daemons
    # a job's own children are its cluster's too
    cluster.command("sbatch", "--output=/dev/null", "--wrap", "sleep 300 & sleep 300")
    wait_until(lambda: len(list(cluster.processes())) >= 4 + 4)
    assert 0 == cluster_command("status", str(state)).returncode
    again = cluster_command("start", str(state))
    assert started.stdout == again.stdout
    stopped = cluster_command("stop", str(state))
    assert (0, []) == (stopped.returncode, list(cluster.processes())), stopped.stderr
    assert 1 == cluster_command("status", str(state)).returncode
    assert None is not slurm.cluster.pid("slurmctld"), "another cluster was stopped"


def test_daemons_are_on_loopback_alone_with_their_own_key(slurm):
    settings = dict(line.partition("=")[::2] for line in slurm.cluster.configuration.read_text().splitlines())
    assert "NoInAddrAny,NoCtldInAddrAny" == settings["CommunicationParameters"]
    assert str(slurm.cluster.state) in settings["AuthInfo"]
    assert 0o600 == (slurm.cluster.state / "munge/key").stat().st_mode & 0o777


def test_the_partition_of_the_design_serves_one_gpu_and_refuses_two(slurm, tmp_path):
    words = ("sbatch", "--wait", "--partition=A40", "--cpus-per-task=8", "--mem=32G", f"--output={tmp_path}/out")
    slurm.run(*words, "--gres=gpu:1", "--wrap", "echo $CUDA_VISIBLE_DEVICES")
    assert "0\n" == (tmp_path / "out").read_text()
    refused = slurm.cluster.command(*words, "--gres=gpu:2", "--wrap", "true", check=False)
    assert "Requested node configuration is not available" in refused.stderr


def test_a_controller_and_a_node_that_were_killed_come_back(slurm):
    slurm.restart_controller()
    slurm.kill_node("cpu1")
    assert None is slurm.cluster.pid("cpu1")
    slurm.run("scontrol", "update", "nodename=cpu1", "state=down", "reason=killed")
    slurm.heal()
    assert set(slurm.nodes) == set(slurm.cluster.node_states())
    slurm.run("sbatch", "--wait", "--nodelist=cpu1", "--output=/dev/null", "--wrap", "true")
