r"""Test plugins: a pytest plugin with `forge_project`, and `check_plugin`, the contract of every plugin.

Install forge, and pytest knows the fixture; nothing needs to be imported::

    def test_rows_below_the_bound_are_dropped(forge_project):
        forge_project.manifest('''
            [sources.words]
            use = "mine.words"
            path = "words.txt"
            ''')
        forge_project.write("words.txt", "a\nbb\n")
        result = forge_project.build()
        assert result.steps["words"].rows_out == 2


    def test_my_plugin_keeps_the_contract():
        forge.testing.check_plugin("mine")
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from forge._contract import HEAVY, problems_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HEAVY", "BuildResult", "ForgeProject", "Result", "StepOutcome", "check_plugin", "forge_project"]

_TIME_OUT = 120
"""Seconds that one command may take."""


@attrs.frozen
class Result:
    """Hold what a command left: its exit code, its results, and what it said."""

    exit_code: int
    stdout: str
    stderr: str


@attrs.frozen
class StepOutcome:
    """Hold what became of one step, as `forge build --json` tells it."""

    name: str
    kind: str
    use: str
    status: str
    key: str | None
    tree: str | None
    outputs: Mapping[str, str]
    seconds: float
    rows_in: int | None
    rows_out: int | None
    drops: Mapping[str, int]
    size: int | None
    because: str = ""
    error: Mapping[str, Any] = attrs.Factory(dict)


@attrs.frozen
class BuildResult(Result):
    """Hold what a build left; ``document`` is its JSON, empty if it never began."""

    document: Mapping[str, Any] = attrs.Factory(dict)

    @property
    def steps(self) -> dict[str, StepOutcome]:
        """Return what became of each step, by name, in the order of the graph."""
        return {entry["name"]: StepOutcome(**entry) for entry in self.document.get("steps", ())}

    @property
    def statuses(self) -> dict[str, str]:
        """Return ``hit``, ``ran``, ``failed`` or ``skipped`` for each step."""
        return {name: step.status for name, step in self.steps.items()}


@attrs.define
class ForgeProject:
    """Be a folder with manifests, data and plugins, in which forge runs as people run it: as a process.

    ``environment`` is laid over the test's own; a value of None takes a variable away.
    """

    root: Path
    environment: dict[str, str | None] = attrs.Factory(dict)

    @property
    def store(self) -> Path:
        """Return the project's store."""
        return self.root / "store"

    def write(self, path: str, text: str | bytes) -> Path:
        """Write a file below the project and return its path."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text if isinstance(text, bytes) else text.encode())
        return target

    def manifest(self, text: str, name: str = "forge.toml") -> Path:
        """Write a manifest; common indentation is taken away."""
        return self.write(name, textwrap.dedent(text))

    def plugin(self, name: str, source: str, files: Mapping[str, str] | None = None) -> Path:
        """Install a plugin of one module for this project's builds, and return the module's path.

        The module is called ``NAME_plugin`` and registered as NAME through an entry point of its own distribution;
        *files* are written beside it. Calling it again replaces the source.
        """
        module = name.replace("-", "_") + "_plugin"
        self.write(f"plugins/{name}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        self.write(f"plugins/{name}-1.dist-info/entry_points.txt", f"[forge]\n{name} = {module}\n")
        for file, text in (files or {}).items():
            self.write(f"plugins/{file}", textwrap.dedent(text))
        path = self.write(f"plugins/{module}.py", textwrap.dedent(source))
        # Python takes bytecode for fresh if the source's second and size are the same, as after a test's quick edit
        shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
        return path

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command and return its process, for tests that interrupt it."""
        return subprocess.Popen(
            [sys.executable, "-m", "forge", *arguments],
            cwd=self.root,
            env=self._environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def forge(self, *arguments: str, **environment: str) -> Result:
        """Run a command (``forge_project.forge("show", "forge.toml", "words")``)."""
        with self.start(*arguments, **environment) as process:
            try:
                stdout, stderr = process.communicate(timeout=_TIME_OUT)
            except BaseException:
                process.kill()
                raise
        return Result(process.returncode, stdout, stderr)

    def build(self, *arguments: str, manifest: str = "forge.toml", **environment: str) -> BuildResult:
        """Build *manifest* and return what became of its steps; *arguments* follow it on the command line."""
        result = self.forge("build", manifest, *arguments, "--json", **environment)
        document = json.loads(result.stdout) if result.stdout else {}
        return BuildResult(result.exit_code, result.stdout, result.stderr, document)

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        path = os.pathsep.join(p for p in (str(self.root / "plugins"), os.environ.get("PYTHONPATH", "")) if p)
        base: dict[str, str | None] = {"PYTHONPATH": path, "FORGE_STORE": None, "COLUMNS": "200", "NO_COLOR": "1"}
        merged = {**os.environ, **base, **self.environment, **more}
        return {name: value for name, value in merged.items() if value is not None}


@pytest.fixture
def forge_project(tmp_path: Path) -> ForgeProject:
    """Give an empty project whose commands run as processes."""
    return ForgeProject(tmp_path)


def check_plugin(namespace: str, examples: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Raise AssertionError with everything in which the installed plugin *namespace* breaks the contract.

    The contract: it loads, without a heavy module (`HEAVY`); it imports forge's public names alone; every step type is
    a frozen attrs class with a docstring, whose parameters have types that a manifest can express; defaults reach no
    key, spelled out or not; parameters survive the way to a worker; the code's fingerprint can be computed.
    *examples* gives parameters to step types (by their names in the plugin) for which none can be guessed; files in
    them are relative to the working folder.
    """
    problems = problems_of(namespace, examples or {})
    if problems:
        raise AssertionError(f"plugin `{namespace}` breaks the contract:\n" + "\n".join(f"- {p}" for p in problems))
