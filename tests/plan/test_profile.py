"""Where steps run: a manifest's `[executor]` over a profile."""

import re
from pathlib import Path

import pytest

from forge.core.errors import ManifestError, UsageError
from forge.core.manifest import Manifest
from forge.core.step import Resources, Step, seconds_of
from forge.plan.profile import Profile, read_profile

A40 = """
[executor]
most = 7
environment = { HF_HOME = "/hf" }
[executor.resources]
cpus = 2
partition = "cpu"
[executor.trainer]
partition = "A40"
gpus = 1
"""


def manifest(root, **executor):
    return Manifest("m", root / "m.toml", root, 0, {}, (), (), executor=executor)


def step(kind="transform", **fields):
    return Step("s", kind, "a.b", "1", "make", None, {}, {}, **fields)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "a40.toml").write_text(A40)
    return tmp_path


@pytest.mark.parametrize("name", ["a40", "slurm/a40.toml"])
def test_a_profile_is_named_by_word_or_path_on_the_command_line_or_in_the_manifest(root, name, monkeypatch):
    monkeypatch.chdir(root)
    assert 7 == read_profile(manifest(root), name).most
    assert 7 == read_profile(manifest(root, profile=name)).most


def test_the_manifest_goes_over_the_profile_and_the_step_over_both(root):
    found = read_profile(manifest(root, profile="a40", most=9, environment={"B": "1"}, trainer={"time": "6h"}))
    assert (9, {"HF_HOME": "/hf", "B": "1"}) == (found.most, found.environment)
    assert Resources(cpus=8, gpus=1, partition="A40", time="6h") == found.resources_of(
        step("trainer", resources=Resources(cpus=8))
    )
    assert Resources(cpus=2, partition="cpu") == found.resources_of(step())


def test_every_problem_of_a_profile_is_told_at_once(root):
    with pytest.raises(ManifestError) as raised:
        read_profile(manifest(root, use="slrum", mots=1, notice="soon", trainer={"gpu": 1}))
    said = "\n".join(problem.message for problem in raised.value.problems)
    for words in ('`use` must be one of `"local"`, `"slurm"`', "no key `mots`", "no key `gpu`"):
        assert words in said
    with pytest.raises(ManifestError, match="must be a time such as"):
        read_profile(manifest(root, notice="soon"))


def test_a_profile_that_is_not_there_is_told_with_the_closest(root):
    with pytest.raises(UsageError, match="there is no profile") as raised:
        read_profile(manifest(root), "a4")
    assert "did you mean `a40`?" == raised.value.hint


@pytest.mark.parametrize(
    ("made", "is_job"),
    [
        (step(), False),
        (step(resources=Resources(cpus=1)), True),
        (step(heavy=True), True),
        (step("labeler"), True),
        (step("source", heavy=True, network=True), False),
        (step("source", heavy=True, network=True, resources=Resources(partition="net")), True),
    ],
)
def test_heavy_steps_are_jobs_and_light_ones_run_on_the_head(made, is_job):
    assert is_job == Profile(kinds=("labeler",)).is_job(made)
    assert Profile(light="cluster").is_job(made)


@pytest.mark.parametrize(
    ("rows", "shards"), [(None, 1), (0, 0), (1, 1), (300, 1), (301, 2), (19_500, 65), (900_000, 1000)]
)
def test_a_labeler_s_rows_are_shared_out_and_no_array_is_longer_than_slurm_takes(rows, shards):
    assert shards == Profile().shards_of(Step("s", "labeler", "a.b", "1", "request", None, {}, {}), rows)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("6h", 21600), ("1.5d", 129600), ("1-02:03:04", 93784), ("6:00", 21600)]
)
def test_times_are_written_as_people_or_as_slurm_write_them(text, seconds):
    assert seconds == seconds_of(text)


@pytest.mark.parametrize("text", ["6", "6 parsecs", "", "-1h"])
def test_other_times_are_refused(text):
    with pytest.raises(ValueError, match="must be a time"):
        seconds_of(text)


def test_the_profiles_that_forge_brings_can_be_read():
    folder = Path(__file__).parents[2] / "slurm"
    for path in sorted(folder.glob("*.toml")):
        assert "slurm" == read_profile(manifest(folder.parent), str(path)).use


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"extra": ["--job-name=mine"]}, "`--job-name=mine` is forge's own"),
        ({"extra": ["--exclusive", "-J mine"]}, "`-J mine` is forge's own"),
        ({"extra": ["--array=1-3"]}, "`--array=1-3` is forge's own"),
        ({"extra": ["exclusive"]}, 'must be options of `sbatch` such as "--exclusive", got `exclusive`'),
        ({"cpus": -1}, "must be >= 1"),
        ({"gpus": -1}, "must be >= 0"),
    ],
)
def test_options_by_which_jobs_are_found_again_and_numbers_below_nothing_are_refused(values, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Resources(**values)


def test_other_options_of_sbatch_are_taken():
    assert ("--exclusive", "--mail-type=END", "-d singleton") == Resources(
        extra=["--exclusive", "--mail-type=END", "-d singleton"]
    ).extra
