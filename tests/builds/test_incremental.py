"""What follows from changed data is built from the kept graph, and comes out as on the full way."""

import random
import time

import pytest

MANIFEST = """
    [sources.one]
    use = "files.any"
    path = "one.txt"

    [sources.many]
    use = "files.any"
    path = "many/*.txt"

    [sources.deep]
    use = "files.any"
    path = "deep"

    [transforms.lines]
    use = "run.command"
    from = "one"
    command = "sort -u $1 > $OUT/lines.txt; echo lines >> {runs}"

    [transforms.count]
    use = "run.command"
    from = ["many", "deep"]
    command = "find -L $1 $2 -type f | sed 's,.*/,,' | sort > $OUT/names.txt; echo count >> {runs}"

    [transforms.both]
    use = "run.command"
    from = ["lines", "count"]
    command = "cat $1 $2 > $OUT/both.txt; echo both >> {runs}"

    [exporters.out]
    use = "files.copy"
    from = "both"
    to = "out/both.txt"
    """


@pytest.fixture
def project(forge_project):
    forge_project.write("one.txt", "b\na\n")
    forge_project.write("many/a.txt", "1")
    forge_project.write("many/b.txt", "2")
    forge_project.write("deep/below/c.txt", "3")
    forge_project.write("notes/empty", "")
    forge_project.manifest(MANIFEST.replace("{runs}", str(forge_project.root / "notes" / "runs")))
    forge_project.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    settle(forge_project)
    return forge_project


def settle(project):
    """Build until the next build may take every short cut."""
    assert 0 == project.build().exit_code
    time.sleep(0.1)
    assert {"hit"} == set(project.build().statuses.values())


def forget(project):
    (project.root / "notes" / "runs").unlink(missing_ok=True)


def runs(project):
    path = project.root / "notes" / "runs"
    return path.read_text().split() if path.exists() else []


def incremental(project):
    """Build for people, and say whether the short way was taken."""
    done = project.forge("build", "forge.toml")
    assert 0 == done.exit_code, done.stderr
    return "forge.cli.incremental" in done.stderr and "forge.cli.app" not in done.stderr


def expected(project):
    lines = sorted(set((project.root / "one.txt").read_text().splitlines()))
    files = [*(project.root / "many").glob("*.txt"), *(p for p in (project.root / "deep").rglob("*") if p.is_file())]
    return "\n".join([*lines, *sorted(p.name for p in files)]) + "\n"


def test_changed_bytes_run_what_follows_from_them_and_nothing_else(project):
    forget(project)
    project.write("one.txt", "c\n")
    assert (True, ["lines", "both"]) == (incremental(project), runs(project))
    assert expected(project) == (project.root / "out/both.txt").read_text()


def test_a_step_that_is_rebuilt_to_the_same_bytes_stops_the_change(project):
    forget(project)
    project.write("one.txt", "a\nb\nb\n")
    assert (True, ["lines"]) == (incremental(project), runs(project))


def test_a_reverted_input_runs_nothing(project):
    before = (project.root / "one.txt").read_text()
    project.write("one.txt", "z\n")
    incremental(project)
    forget(project)
    project.write("one.txt", before)
    assert (True, []) == (incremental(project), runs(project))
    assert expected(project) == (project.root / "out/both.txt").read_text()


def test_a_touched_input_runs_nothing(project):
    forget(project)
    (project.root / "one.txt").touch()
    assert (True, []) == (incremental(project), runs(project))


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "many" / "c.txt").write_text("4"),
        lambda root: (root / "many" / "a.txt").unlink(),
        lambda root: (root / "deep" / "below" / "d.txt").write_text("5"),
        lambda root: (root / "deep" / "below" / "c.txt").rename(root / "deep" / "c2.txt"),
    ],
    ids=["added", "removed", "added below", "renamed"],
)
def test_files_that_come_go_or_are_renamed_are_noticed(project, change):
    forget(project)
    change(project.root)
    assert (True, ["count", "both"]) == (incremental(project), runs(project))
    assert expected(project) == (project.root / "out/both.txt").read_text()


@pytest.mark.parametrize(
    "change",
    [
        lambda project: project.manifest(
            MANIFEST.replace("sort -u", "sort").replace("{runs}", str(project.root / "notes" / "runs"))
        ),
        lambda project: (project.root / "out" / "both.txt").write_text("changed"),
        lambda project: [p.unlink() for p in (project.root / "many").glob("*")],
        lambda project: next((project.store / "builds").glob("*.graph")).write_text("{"),
    ],
    ids=["manifest", "delivered file", "no file left", "kept graph"],
)
def test_whatever_else_changed_takes_the_full_way(project, change):
    project.write("one.txt", "q\n")
    change(project)
    done = project.forge("build", "forge.toml")
    assert "forge.cli.app" in done.stderr


def test_a_step_that_fails_is_told_and_tried_again(project):
    forget(project)
    (project.root / "many" / "a.txt").write_text("x")
    project.manifest(
        MANIFEST.replace("{runs}", str(project.root / "notes" / "runs")).replace(
            "cat $1 $2", "test -s $1 && ! grep -q bad $1 && cat $1 $2"
        )
    )
    settle(project)
    project.write("one.txt", "bad\n")
    for _ in range(2):
        done = project.forge("build", "forge.toml")
        assert (1, True) == (done.exit_code, "step `both`" in done.stderr)
    project.write("one.txt", "good\n")
    assert 0 == project.forge("build", "forge.toml").exit_code
    assert expected(project) == (project.root / "out/both.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_any_run_of_changes_ends_where_the_full_way_ends(project, seed):
    rng = random.Random(seed)
    names = ["one.txt", *(f"many/{n}.txt" for n in "abcd"), *(f"deep/{n}" for n in ("x", "below/y", "below/z"))]
    for _ in range(8):
        for _ in range(rng.randint(0, 2)):
            name = rng.choice(names)
            if name != "one.txt" and rng.random() < 0.3:
                (project.root / name).unlink(missing_ok=True)
            else:
                project.write(name, rng.choice("abc") + "\n" + rng.choice("ab\n") + "\n")
        project.write("many/keep.txt", "")
        project.write("deep/keep.txt", "")
        assert 0 == project.forge("build", "forge.toml").exit_code
        assert expected(project) == (project.root / "out/both.txt").read_text()
        if rng.random() < 0.5:
            time.sleep(0.1)
    document = project.build()
    assert {"hit"} == set(document.statuses.values())
    elsewhere = project.build("--store", "fresh")
    assert {n: s.outputs for n, s in elsewhere.steps.items()} == {n: s.outputs for n, s in document.steps.items()}
