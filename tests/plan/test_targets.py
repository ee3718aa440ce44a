"""What is not asked for is not looked at."""

import pytest

from forge.core.errors import ManifestError
from forge.plan.load import load
from forge.plan.resolve import resolve

MANIFEST = """
    [sources.raw]
    use = "files.any"
    path = "a.txt"

    [transforms.joined]
    use = "run.command"
    from = "raw"
    command = "true"

    [sources.base]
    use = "model.gguf"
    package = "no_such_package"
    """


@pytest.fixture
def manifest(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "forge.toml").write_text(MANIFEST)
    return load(tmp_path / "forge.toml")


def test_a_package_that_a_step_out_of_sight_lacks_is_no_problem(manifest):
    assert list(resolve(manifest, targets=["joined"]).steps) == ["raw", "joined"]


def test_a_package_that_is_needed_is_named(manifest):
    with pytest.raises(ManifestError, match="`no_such_package` is not installed"):
        resolve(manifest)


def test_a_target_that_is_no_step_is_a_problem(manifest):
    with pytest.raises(ManifestError, match="there is no step `joind`"):
        resolve(manifest, targets=["joind"])
