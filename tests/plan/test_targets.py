"""What is not asked for is not looked at."""

import pytest

from forge.cli.options import open_project
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


def test_what_a_broken_step_hides_is_looked_for_all_the_same(tmp_path):
    text = (
        MANIFEST.replace('use = "files.any"', "")
        + '[transforms.more]\nuse = "run.comand"\nfrom = "raw"\nresources = { foo = 3 }\n'
    )
    (tmp_path / "forge.toml").write_text(text)
    with pytest.raises(ManifestError) as raised:
        open_project(str(tmp_path / "forge.toml"), (), str(tmp_path / "store"))
    assert [problem.message for problem in raised.value.problems] == [
        '`use = "plugin.step-type"` is missing',
        "unknown step type `run.comand`: plugin `run` has no step type `comand`",
        "there is no resource `foo`",
    ]
