"""What a worker compares before it runs a step."""

from types import SimpleNamespace

import pytest

from forge.core.action import module_digests
from forge.core.errors import StepError
from forge.plugin.discovery import Registry
from forge.plugin.fingerprint import describe, digest_data, fingerprint
from forge.run import worker
from forge.run.worker import Worker
from forge.store.signatures import Sources


@pytest.fixture
def planned():
    """Return a step type, and a function that makes a job of it as a build plans it."""
    found = Registry().find("files.jsonl")
    sources = Sources()
    code = fingerprint(found.cls, Registry().packages, sources.noting(describe), sources.noting(digest_data))

    def job(*, code=code, signatures=sources.signatures):
        return SimpleNamespace(use="files.jsonl", action={"code": module_digests(code)}, sources=signatures)

    return found.cls, job


@pytest.fixture
def looked(monkeypatch):
    """Count how often the code itself is looked at."""
    times = []
    monkeypatch.setattr(worker, "fingerprint", lambda *given: times.append(1) or fingerprint(*given))
    return times


def test_code_that_stands_as_the_build_has_read_it_is_not_read_again(planned, looked):
    cls, job = planned
    each = Worker(print)
    for _ in range(3):
        each._check_code(cls, job())
    assert [] == looked


@pytest.mark.parametrize("told", ["nothing", "an older one", "elsewhere"])
def test_code_that_can_not_be_told_to_stand_is_read_and_compared(planned, looked, told):
    cls, job = planned
    known = job().sources
    signatures = {
        "nothing": {},
        "an older one": {path: (0, *rest) for path, (_, *rest) in known.items()},
        "elsewhere": {__file__: known.get(__file__, (0,) * 5)},
    }[told]
    each = Worker(print)
    each._check_code(cls, job(signatures=signatures))
    assert 1 == len(looked)
    with pytest.raises(StepError, match="changed after the build was planned"):
        Worker(print)._check_code(cls, job(code={"forge_files.json_source": {"": "other"}}, signatures=signatures))
