#!/usr/bin/env python3
"""Start a whole Slurm cluster on this machine, for tests and for trying things out; stop what was started.

    slurm/cluster.py start STATE_DIR [--nodes N]    print `export SLURM_CONF=…`
    slurm/cluster.py status STATE_DIR
    slurm/cluster.py stop STATE_DIR
    slurm/cluster.py install                        only what is missing of Slurm and munge

Everything lies in STATE_DIR, every daemon listens on loopback alone, and neither a Slurm that the machine has already
nor its munge are touched. Partition `cpu` has *N* virtual nodes, partition `A40` one node with a gpu that isn't one.
Debian's packages are installed where they are missing and the caller is root.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
MARK = "FORGE_CLUSTER"
"""Variable that tells this cluster's daemons, and what they started, from any others."""

SETTINGS = {
    "ClusterName": "forge",
    "SlurmctldHost": "localhost(127.0.0.1)",
    "AuthType": "auth/munge",
    "CommunicationParameters": "NoInAddrAny,NoCtldInAddrAny",
    "ProctrackType": "proctrack/linuxproc",
    "TaskPlugin": "task/none",
    "MpiDefault": "none",
    "SelectType": "select/cons_tres",
    "SelectTypeParameters": "CR_CPU_Memory",
    "DefMemPerCPU": "1000",  # megabytes; else a job that names none takes its whole node
    "GresTypes": "gpu",
    "JobAcctGatherType": "jobacct_gather/none",
    "AccountingStorageType": "accounting_storage/none",
    "SlurmdParameters": "config_overrides",  # the nodes are as large as the configuration says
    "ReturnToService": "2",
    "SchedulerParameters": "batch_sched_delay=0",
    # seconds
    "SlurmdTimeout": "10",
    "SlurmctldTimeout": "10",
    "KillWait": "3",
    "MessageTimeout": "10",
}
"""Settings that `Cluster.start` can be told to replace."""

CPUS_OF_A_NODE = 4
CPUS_OF_A_GPU_NODE = 16
STARTING = 60.0
"""Seconds in which the nodes must have come up."""
STOPPING = 10.0
"""Seconds that jobs, then daemons get to end before they are killed."""


class ClusterError(Exception):
    """Say why there is no cluster, in words for a person."""


class Cluster:
    """Be the cluster whose state lies in *state*: start, stop, and kill its daemons one by one."""

    def __init__(self, state: Path) -> None:
        """Do nothing yet: the folder need not exist."""
        self.state = state.resolve()
        self.configuration = self.state / "slurm.conf"
        self.socket = self.state / "munge" / "socket"
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables with which Slurm's commands find this cluster."""
        return {"SLURM_CONF": str(self.configuration), "PATH": _path()}

    @property
    def nodes(self) -> list[str]:
        """Return the names of the virtual nodes."""
        return (self.state / "nodes").read_text().split()

    @property
    def daemons(self) -> list[str]:
        """Return the names of the daemons, in the order in which they start."""
        return ["munged", "slurmctld", *self.nodes]

    def start(self, nodes: int = 4, settings: Mapping[str, str] | None = None) -> None:
        """Start what does not run yet, and wait until the nodes are up; *settings* replace some of `SETTINGS`."""
        install()
        if not self.configuration.exists():
            self._configure(nodes, SETTINGS | dict(settings or {}))
        for daemon in self.daemons:
            if self.pid(daemon) is None:
                self.start_daemon(daemon)
        self.wait_for_nodes()

    def wait_for_nodes(self, within: float = STARTING) -> None:
        """Wait until every node can take jobs, or raise."""
        deadline = time.monotonic() + within
        while True:
            states = self.node_states()
            if set(states) == set(self.nodes) and set(states.values()) <= {"idle", "mixed", "allocated"}:
                return
            if time.monotonic() > deadline:
                raise ClusterError(f"the nodes did not come up in {within:.0f} s: {states}\n{self._tail('slurmctld')}")
            time.sleep(0.1)

    def node_states(self) -> dict[str, str]:
        """Return each node's state, as `sinfo` says it; nothing where the controller does not answer."""
        done = self.command("sinfo", "--noheader", "--Node", "--format=%N %T", check=False)
        return dict(line.split() for line in done.stdout.splitlines())

    def stop(self) -> None:
        """Cancel the jobs, then end every process that this cluster started; the folder stays."""
        if not self.configuration.exists():
            return
        if self.pid("slurmctld") is not None and self.pid("munged") is not None:
            self._cancel()
        for daemon in reversed(self.daemons):
            self.kill_daemon(daemon, signal.SIGTERM, wait=False)
        deadline = time.monotonic() + STOPPING
        while (left := list(self.processes())) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in left:
            _signal(pid, signal.SIGKILL)
        for child in self.children.values():
            child.wait()
        for daemon in self.daemons:
            self._pid_file(daemon).unlink(missing_ok=True)

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of Slurm's commands on this cluster."""
        return subprocess.run(
            words, env=os.environ | self.environment, capture_output=True, text=True, check=check, timeout=60
        )

    def start_daemon(self, daemon: str) -> None:
        """Start the controller (`slurmctld`), `munged`, or a node's daemon by the node's name."""
        words = {
            "munged": [
                *("munged", "--foreground", f"--socket={self.socket}", f"--key-file={self.state}/munge/key"),
                *(f"--pid-file={self.state}/munge/pid", f"--log-file={self.state}/log/munged.log"),
                *(f"--seed-file={self.state}/munge/seed", "--num-threads=2", "--force"),
            ],
            "slurmctld": ["slurmctld", "-D", "-f", str(self.configuration)],
        }.get(daemon, ["slurmd", "-D", "-N", daemon, "-f", str(self.configuration)])
        with (self.state / "log" / f"{daemon}.out").open("ab") as output:
            process = subprocess.Popen(
                words,
                env=os.environ | self.environment | {MARK: str(self.state)},
                cwd=self.state,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if daemon in self.children:
            self.children[daemon].wait()
        self.children[daemon] = process
        self._pid_file(daemon).write_text(f"{process.pid} {_started(process.pid)}\n")
        if daemon == "munged":
            deadline = time.monotonic() + STARTING
            while not self.socket.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ClusterError(f"munged does not start:\n{self._tail('munged')}")
                time.sleep(0.01)

    def kill_daemon(self, daemon: str, signum: int = signal.SIGKILL, *, wait: bool = True) -> None:
        """Send *signum* to a daemon, and wait until it has gone; what it started is let be."""
        pid = self.pid(daemon)
        if pid is None:
            return
        _signal(pid, signum)
        deadline = time.monotonic() + STOPPING
        while wait and self.pid(daemon) is not None:
            if time.monotonic() > deadline:
                raise ClusterError(f"{daemon} does not end")
            time.sleep(0.01)

    def pid(self, daemon: str) -> int | None:
        """Return the id of a daemon's process, None if it does not run."""
        try:
            pid, started = self._pid_file(daemon).read_text().split()
        except (OSError, ValueError):
            return None
        if daemon in self.children:
            self.children[daemon].poll()
        return int(pid) if _started(int(pid)) == started else None

    def processes(self) -> Iterator[int]:
        """Find every process of this cluster: daemons, what keeps its jobs, and what the jobs started."""
        marked: set[int] = set()
        children: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            pid = int(entry)
            try:
                state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
                variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if state == "Z":
                continue
            children.setdefault(int(parent), []).append(pid)
            if f"{MARK}={self.state}".encode() in variables:
                marked.add(pid)
        found: set[int] = set()
        waiting = sorted(marked)
        while waiting:
            pid = waiting.pop()
            if pid not in found:
                found.add(pid)
                waiting += children.get(pid, [])
        yield from sorted(found)

    def _cancel(self) -> None:
        done = self.command("squeue", "--noheader", "--format=%A", check=False)
        if jobs := sorted(set(done.stdout.split())):
            self.command("scancel", *jobs, check=False)
        deadline = time.monotonic() + STOPPING
        while time.monotonic() < deadline:
            if not self.command("squeue", "--noheader", "--format=%A", check=False).stdout.strip():
                return
            time.sleep(0.1)

    def _configure(self, count: int, settings: Mapping[str, str]) -> None:
        if len(str(self.socket)) > 100:  # what a socket's address has room for  # noqa: PLR2004
            raise ClusterError(f"`{self.state}` is too long a path for a socket")
        for name in ("munge", "log", "spool", "controller", "pids"):
            (self.state / name).mkdir(parents=True, exist_ok=True)
        key = self.state / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(random.SystemRandom().randbytes(128))
        nodes = [f"cpu{number}" for number in range(1, count + 1)]
        ports = _free_ports(count + 2)
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        lines = [f"{name}={value}" for name, value in settings.items()]
        lines += [
            f"SlurmUser={user}",
            f"SlurmdUser={user}",
            f"AuthInfo=socket={self.socket},cred_expire=5",  # else a requeued job waits two minutes for its node
            f"SlurmctldPort={ports[0]}",
            f"StateSaveLocation={self.state}/controller",
            f"SlurmdSpoolDir={self.state}/spool/%n",
            f"SlurmctldPidFile={self.state}/pids/slurmctld.pid",
            f"SlurmdPidFile={self.state}/pids/%n.pid",
            f"SlurmctldLogFile={self.state}/log/slurmctld.log",
            f"SlurmdLogFile={self.state}/log/%n.log",
        ]
        place = "NodeHostname=localhost NodeAddr=127.0.0.1"
        lines += [  # two nodes share a feature, and the last are taken last
            f"NodeName={node} {place} Port={port} CPUs={CPUS_OF_A_NODE} RealMemory=16000 "
            f"Feature=pair{1 + number // 2} Weight={1 + number}"
            for number, (node, port) in enumerate(zip(nodes, ports[1:], strict=False))
        ]
        lines += [
            f"NodeName=gpu1 {place} Port={ports[-1]} CPUs={CPUS_OF_A_GPU_NODE} RealMemory=64000 Gres=gpu:1",
            f"PartitionName=cpu Nodes={','.join(nodes)} Default=YES MaxTime=1-00:00:00 DefaultTime=01:00:00",
            "PartitionName=A40 Nodes=gpu1 MaxTime=2-00:00:00 DefaultTime=01:00:00",
        ]
        # without a device file the gpu would be dropped silently
        (self.state / "gres.conf").write_text("NodeName=gpu1 Name=gpu File=/dev/null\n")
        (self.state / "nodes").write_text("\n".join([*nodes, "gpu1"]) + "\n")
        self.configuration.write_text("\n".join(lines) + "\n")

    def _pid_file(self, daemon: str) -> Path:
        return self.state / "pids" / f"{daemon}.started"

    def _tail(self, daemon: str) -> str:
        texts = [(self.state / "log" / f"{daemon}.{end}") for end in ("out", "log")]
        return "\n".join(line for text in texts if text.exists() for line in text.read_text().splitlines()[-10:])


def missing() -> list[str]:
    """Return the programs that this machine lacks."""
    return [program for program in PROGRAMS if shutil.which(program, path=_path()) is None]


def install() -> None:
    """Install Debian's packages if programs are missing, or raise where that can't be done."""
    if not missing():
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(f"{', '.join(missing())}: not installed, and only root can, with apt-get")
    # in run level 1 the packages' services are not started
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    words = ["apt-get", "install", "--quiet", "--quiet", "--yes", "--no-install-recommends", *PACKAGES]
    done = subprocess.run(words, env=quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        subprocess.run(["apt-get", "update", "--quiet", "--quiet"], env=quiet, capture_output=True, check=False)
        done = subprocess.run(words, env=quiet, capture_output=True, text=True, check=False)
    if done.returncode or missing():
        raise ClusterError(f"{' '.join(PACKAGES)} can't be installed: {done.stderr.strip()[-500:]}")


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _free_ports(count: int) -> list[int]:
    """Return *count* neighbouring ports, below those that the system gives out by itself."""
    for _ in range(100):
        base = random.SystemRandom().randrange(20_000, 30_000)
        ports = list(range(base, base + count))
        if all(map(_is_free, ports)):
            return ports
    raise ClusterError(f"no {count} free ports between 20000 and 30000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _started(pid: int) -> str | None:
    """Return when a process began, in ticks since the machine did; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _signal(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return


def _status(cluster: Cluster) -> int:
    if not cluster.configuration.exists():
        print(f"no cluster in {cluster.state}")  # noqa: T201
        return 1
    pids = {daemon: cluster.pid(daemon) for daemon in cluster.daemons}
    states = cluster.node_states() if pids["slurmctld"] else {}
    for daemon, pid in pids.items():
        print(f"{daemon:10} {'down' if pid is None else f'pid {pid}'}  {states.get(daemon, '')}".rstrip())  # noqa: T201
    return 1 if None in pids.values() else 0


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="A Slurm cluster on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="install what is missing of Slurm and munge")
    for name in ("start", "status", "stop"):
        commands.add_parser(name).add_argument("state", metavar="STATE_DIR", type=Path)
    commands.choices["start"].add_argument("--nodes", type=int, default=4, help="virtual nodes in partition `cpu` (4)")
    options = parser.parse_args()
    try:
        if options.command == "install":
            install()
            return 0
        cluster = Cluster(options.state)
        if options.command == "status":
            return _status(cluster)
        if options.command == "stop":
            cluster.stop()
        else:
            cluster.start(options.nodes)
            print(f"export SLURM_CONF={cluster.configuration}")  # noqa: T201
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
