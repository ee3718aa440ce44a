"""A Slurm cluster on this machine, for the tests in this folder."""

import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from .waiting import wait_until
from .work import make_project

ROOT = Path(__file__).parents[2]


def load_cluster():
    """Import slurm/cluster.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("forge_test_cluster", ROOT / "slurm/cluster.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@attrs.define
class Slurm:
    """Be the cluster, as tests see it: ``environment`` is what Slurm's commands need to find it."""

    cluster: object
    settings: dict = attrs.Factory(dict)
    beside: dict = attrs.Factory(dict)

    @property
    def environment(self):
        return self.cluster.environment

    @property
    def nodes(self):
        return self.cluster.nodes

    def run(self, *words, check=True):
        """Run one of Slurm's commands and return what it printed."""
        return self.cluster.command(*words, check=check).stdout

    def jobs(self, project=None):
        """Return what the controller has of all jobs, or of a project's, ended ones too: ``{id: (name, state)}``."""
        said = self.run("squeue", "--noheader", "--states=all", "--format=%i|%j|%T|%o")
        rows = [line.split("|", 3) for line in said.splitlines()]
        return {job: (name, state) for job, name, state, path in rows if project is None or f"{project.root}/" in path}

    def living(self, project=None, states=("PENDING", "CONFIGURING", "RUNNING")):
        """Return the ids of jobs that wait or run."""
        return [job for job, (_, state) in self.jobs(project).items() if state in states]

    def node_of(self, job):
        """Return the node that a job runs on."""
        return self.run("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()

    def kill_controller(self):
        """Kill the controller without a warning: what it did not save is lost."""
        self.cluster.kill_daemon("slurmctld")

    def start_controller(self):
        self.cluster.start_daemon("slurmctld")
        self.cluster.wait_for_nodes()

    def restart_controller(self):
        self.kill_controller()
        self.start_controller()

    def kill_node(self, node):
        """Kill a node's daemon; what runs on the node runs on."""
        self.cluster.kill_daemon(node)

    def start_node(self, node):
        self.cluster.start_daemon(node)

    def set(self, **settings):
        """Change what slurm.conf says, until the test ends."""
        text = self.cluster.configuration.read_text().splitlines()
        kept = [line for line in text if line.partition("=")[0] not in settings]
        self.settings.setdefault("before", "\n".join(text) + "\n")
        lines = [f"{name}={value}" for name, value in settings.items()]
        self.cluster.configuration.write_text("\n".join([*lines, *kept]) + "\n")
        self.run("scontrol", "reconfigure")

    def heal(self):
        """Make the cluster what it was before a test: everything runs, and there are no jobs."""
        if before := self.settings.pop("before", None):
            self.cluster.configuration.write_text(before)
            self.run("scontrol", "reconfigure", check=False)
        for daemon in self.cluster.daemons:
            if self.cluster.pid(daemon) is None:
                self.cluster.start_daemon(daemon)
        wait_until(self.cluster.node_states, 20)
        if jobs := self.living():
            self.run("scancel", *jobs, check=False)
        for node, state in self.cluster.node_states().items():
            if state not in {"idle", "mixed", "allocated", "completing"}:
                self.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        self.cluster.wait_for_nodes()
        wait_until(lambda: not self.living(), 30)


SIDE_BY_SIDE = 6
"""Tests that run at once: they mostly wait for Slurm."""


def pytest_configure(config):
    config.addinivalue_line("markers", "together: needs nothing of the cluster for itself; runs beside others")


@attrs.define
class Together:
    """Run all tests of the session that are marked `together`, each with a project of its own."""

    slurm: Slurm
    places: object
    pool: ThreadPoolExecutor = attrs.Factory(lambda: ThreadPoolExecutor(SIDE_BY_SIDE))

    @property
    def running(self):
        return self.slurm.beside

    def start(self, items):
        for number, item in enumerate(items):
            given = getattr(item, "callspec", None)
            named = {"slurm": self.slurm, "number": number, **(given.params if given else {})}
            self.running[item.nodeid] = self.pool.submit(self._run, item.function, **named)

    def _run(self, function, *, number, **named):
        project = make_project(self.places / str(number), self.slurm.environment)
        try:
            return function(project=project, **named)
        finally:
            project.end()


@pytest.fixture(scope="session")
def together(slurm, tmp_path_factory):
    """Run tests side by side."""
    running = Together(slurm, tmp_path_factory.mktemp("together"))
    yield running
    running.pool.shutdown(cancel_futures=True)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Wait for a test that runs beside others; the first one starts them all."""
    if pyfuncitem.get_closest_marker("together") is None:
        return None
    together = pyfuncitem._request.getfixturevalue("together")
    if not together.running:
        together.start([item for item in pyfuncitem.session.items if item.get_closest_marker("together")])
    together.running[pyfuncitem.nodeid].result()
    return True


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """Start a cluster for the session; tests are skipped where there can't be one, but never in CI."""
    module = load_cluster()
    cluster = module.Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start(nodes=8)
    except module.ClusterError as error:
        cluster.stop()
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no Slurm here: {error}")
    yield Slurm(cluster)
    cluster.stop()


@pytest.fixture(autouse=True)
def _healed(request):
    """Give a test that has the cluster for itself one in which all runs and nothing waits."""
    if "slurm" not in request.fixturenames or request.node.get_closest_marker("together"):
        yield
        return
    slurm = request.getfixturevalue("slurm")
    for future in slurm.beside.values():
        future.exception()
    slurm.heal()
    yield
    slurm.heal()


@pytest.fixture
def project(slurm, tmp_path):
    """Give a project whose builds run on the cluster."""
    made = make_project(tmp_path / "project", slurm.environment)
    yield made
    made.end()
