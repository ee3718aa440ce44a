"""Manifests that can't be built: every problem in one run, exit code 2, no traceback."""

import pytest

BROKEN = """
    [params]
    data = "nowhere"

    [sources.words]
    use = "toy.word"
    path = "words.txt"

    [sources.files]
    use = "toy.words"
    path = "${data}/*.txt"

    [transforms.misspelt]
    use = "toy.band"
    from = "files"
    leest = 3

    [transforms.wrong]
    use = "toy.band"
    from = "misspelt"
    least = "3"
    filtered = 1

    [transforms.negative]
    use = "toy.band"
    from = "wrong"
    least = -1

    [transforms.left]
    use = "toy.upper"
    from = "right"

    [transforms.right]
    use = "toy.upper"
    from = "left"

    [transforms.orphan]
    use = "toy.upper"
    from = "fils"

    [transforms.unknown]
    use = "toi.band"
    from = "files"

    [exporters.kind]
    use = "toy.band"
    from = "files"

    [transforms.forgotten]
    use = "toy.band"
    """
EXPECTED = [
    (6, "words", "unknown step type `toy.word`: plugin `toy` has no step type `word`", "did you mean `words`?"),
    (11, "files", "`path`: no file matches `nowhere/*.txt` below", None),
    (16, "misspelt", "there is no parameter `leest`", "did you mean `least`?"),
    (21, "wrong", '`least` must be an integer, got `"3"`', None),
    (22, "wrong", "`filtered` must be true or false, got `1`", None),
    (27, "negative", "`least` must be >= 0, got `-1`", None),
    (39, "orphan", "there is no step `fils`", "did you mean `files`?"),
    (42, "unknown", "unknown step type `toi.band`: no plugin called `toi` is installed", "did you mean `toy`?"),
    (46, "kind", "`toy.band` is a transform, it stands under `[exporters]`", "write `[transforms.kind]`"),
    (49, "forgotten", "`from` is missing", None),
]


@pytest.fixture(scope="module")
def refused(shared_toy):
    shared_toy.manifest(BROKEN, "broken.toml")
    return shared_toy.build(manifest="broken.toml")


@pytest.mark.parametrize(("line", "step", "message", "hint"), EXPECTED, ids=[e[1] + str(e[0]) for e in EXPECTED])
def test_a_problem_is_told_with_file_line_step_and_value(refused, line, step, message, hint):
    said = refused.stderr.splitlines()
    (index,) = [i for i, text in enumerate(said) if f"error: broken.toml:{line}: step `{step}`: {message}" in text]
    assert hint is None or f"  hint: {hint}" == said[index + 1]


def test_all_problems_come_in_one_run_without_a_traceback(refused):
    assert (2, "") == (refused.exit_code, refused.stdout)
    assert "steps wait for each other: `" in refused.stderr
    assert f"{len(EXPECTED) + 1} problems" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_missing_extra_is_named_at_plan_time(shared_toy):
    shared_toy.manifest(
        '[sources.raw]\nuse = "files.any"\npath = "raw.txt"\n[transforms.gguf]\nuse = "toy.missing"\nfrom = "raw"\n',
        "extra.toml",
    )
    result = shared_toy.forge("plan", "extra.toml")
    assert 2 == result.exit_code
    assert "extra.toml:5: step `gguf`: `toy.missing` needs `no_such_module`, which is not installed" in result.stderr
    assert "hint: pip install 'forge[gguf]'" in result.stderr


def test_check_finds_no_problem_in_a_good_manifest_and_runs_nothing(shared_toy):
    result = shared_toy.forge("check", "forge.toml")
    assert (0, "", []) == (result.exit_code, result.stderr, shared_toy.runs())
    assert "5 steps, 1 files: no problem found" == result.stdout.splitlines()[-1]
