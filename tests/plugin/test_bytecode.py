"""Bytecode that Python would take for the source's."""

import os
import subprocess
import sys
import time
from importlib.util import cache_from_source

import pytest

from forge.plugin import bytecode

LONG_AGO = 1_577_836_800
PRINTED = """
import sys
from forge.plugin.bytecode import distrust_bytecode
distrust_bytecode(["loud"])
import loud
print(loud.K)
"""


@pytest.fixture
def loud(tmp_path):
    """Return what writes the module `loud`, always at one time, and what it is when it is imported."""

    def says(value):
        source = tmp_path / "loud.py"
        source.write_text(f"K = {value}\n")
        os.utime(source, (LONG_AGO, LONG_AGO))
        return source

    def imported(code=PRINTED):
        environment = {
            n: v for n, v in os.environ.items() if n not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
        }
        path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    return says, imported


def test_a_source_that_was_changed_and_its_time_set_back_is_what_runs(loud):
    says, imported = loud
    said = []
    for value in (1, 2):
        says(value)
        said.append(imported())
    assert ["1", "2"] == said


def test_python_itself_takes_the_old_bytecode_for_it(loud):
    says, imported = loud
    said = []
    for value in (1, 2):
        says(value)
        said.append(imported("import loud; print(loud.K)"))
    assert ["1", "1"] == said


@pytest.mark.parametrize(
    ("age", "settled"),
    [(-1.0, False), (0.1, False), (0.5, True), (10_000.0, False)],  # the last one is of a clock that is ahead
)
def test_bytecode_counts_if_it_is_clearly_younger_than_the_last_change(loud, monkeypatch, age, settled):
    monkeypatch.setattr(bytecode, "_GRAIN", 300_000_000)
    source = loud[0](1)
    compiled = source.with_suffix(".pyc")
    compiled.write_bytes(b"")
    changed = source.stat().st_ctime
    os.utime(compiled, (changed + age, changed + age))
    time.sleep(0.6)
    assert settled == bytecode._settled(str(source), str(compiled))


def test_bytecode_is_kept_and_used_once_it_is_settled(loud):
    says, imported = loud
    kept = cache_from_source(str(says(1)))
    imported()
    assert os.path.exists(kept)
    compiles = PRINTED.replace("print", "from importlib.machinery import SourceFileLoader as S; print").replace(
        "import loud\n",
        "from forge.plugin.bytecode import _Loader\n"
        "_Loader.source_to_code = lambda *_, **__: sys.exit('compiled')\n"
        "import forge.plugin.bytecode as b; b._GRAIN = -1\n"
        "import loud\n",
    )
    assert "1" == imported(compiles)
