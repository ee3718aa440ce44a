"""Files in, commands between, files out."""

import re
import time

import pytest

MANIFEST = """
    [sources.raw]
    use = "files.any"
    path = "in/*.txt"

    [transforms.joined]
    use = "run.command"
    from = "raw"
    command = 'cat "$1"/*.txt > "$OUT/all.txt"'

    [exporters.result]
    use = "files.copy"
    from = "joined"
    to = "out/all.txt"
    """


@pytest.fixture
def project(forge_project):
    forge_project.write("in/a.txt", "one\n")
    forge_project.write("in/b.txt", "two\n")
    forge_project.manifest(MANIFEST)
    assert forge_project.build().exit_code == 0
    return forge_project


def test_a_one_file_artifact_is_put_at_its_place(project):
    assert (project.root / "out/all.txt").read_text() == "one\ntwo\n"


def test_a_deleted_file_is_put_back_and_told(project):
    (project.root / "out/all.txt").unlink()
    again = project.build()
    assert "`out/all.txt` was deleted since it was written" in again.stderr
    assert (project.root / "out/all.txt").read_text() == "one\ntwo\n"
    assert set(again.statuses.values()) == {"hit"}


def test_a_changed_file_is_mended_and_told(project):
    (project.root / "out/all.txt").write_text("by hand\n")
    again = project.build()
    assert "`out/all.txt` was changed since it was written" in again.stderr
    assert (project.root / "out/all.txt").read_text() == "one\ntwo\n"


def test_a_new_result_replaces_the_old_one_without_a_word(project):
    project.write("in/b.txt", "three\n")
    again = project.build()
    assert (project.root / "out/all.txt").read_text() == "one\nthree\n"
    assert "since it was written" not in again.stderr


def test_a_file_that_the_step_did_not_write_is_never_written_over(forge_project):
    forge_project.write("in/a.txt", "one\n")
    forge_project.write("in/b.txt", "two\n")
    forge_project.write("out/all.txt", "precious\n")
    forge_project.manifest(MANIFEST)
    refused = forge_project.build()
    assert refused.exit_code == 1
    assert "`out/all.txt` is there already" in refused.stderr
    assert (forge_project.root / "out/all.txt").read_text() == "precious\n"


@pytest.mark.parametrize("place", [".git/hooks/all.txt", "store/objects/all.txt"])
def test_places_that_are_not_for_results_are_refused(forge_project, place):
    forge_project.write("in/a.txt", "one\n")
    forge_project.write("in/b.txt", "two\n")
    forge_project.manifest(MANIFEST.replace("out/all.txt", place))
    refused = forge_project.build()
    assert refused.exit_code == 1
    assert "is no place for files of a step" in refused.stderr


def test_a_place_outside_the_project_is_refused(forge_project):
    forge_project.write("in/a.txt", "one\n")
    forge_project.manifest(MANIFEST.replace("out/all.txt", "../all.txt"))
    refused = forge_project.build()
    assert refused.exit_code == 2
    assert "must be a path below the project" in refused.stderr


def test_a_link_that_leads_out_of_the_project_is_refused(forge_project, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    forge_project.write("in/a.txt", "one\n")
    (forge_project.root / "out").symlink_to(outside)
    forge_project.manifest(MANIFEST)
    assert forge_project.build().exit_code == 1
    assert list(outside.iterdir()) == []


def test_a_command_that_is_killed_names_the_signal_and_keeps_what_it_has_said(project):
    project.manifest(MANIFEST.replace('cat "$1"', 'echo one >&2; echo two >&2; kill -9 $$; cat "$1"'))
    failed = project.build()
    assert failed.exit_code == 1
    assert "the command was killed by signal 9 (SIGKILL)\n  one\n  two" in failed.stderr.replace("    ", "  ")
    [log] = [text for path in project.store.glob("logs/*.log") if "one" in (text := path.read_text())]
    assert [line.partition(" ")[2] for line in log.splitlines()][:2] == ["one", "two"]


def test_a_failing_command_says_its_status_and_its_last_words(project):
    project.manifest(MANIFEST.replace('cat "$1"', 'echo no such luck >&2; exit 3; cat "$1"'))
    failed = project.build()
    assert failed.exit_code == 1
    assert "the command ended with status 3" in failed.stderr
    assert "no such luck" in failed.stderr


def run_script(project, script):
    """Let the step run *script*."""
    project.manifest(
        MANIFEST.replace("""'cat "$1"/*.txt > "$OUT/all.txt"'""", f'"sh {project.write("step.sh", script)}"')
    )


def test_what_a_failed_attempt_has_left_in_its_folder_is_no_part_of_the_next_one_s_result(project):
    run_script(project, 'echo row >> all.txt\ncp all.txt "$OUT"\ntest -e "$0".tried || { touch "$0".tried; exit 3; }\n')
    assert project.build().exit_code == 1
    built = project.build()
    assert built.exit_code == 0, built.stderr
    assert (project.root / "out/all.txt").read_text() == "row\n"
    assert list((project.store / "staging").iterdir()) == []


@pytest.mark.parametrize("errors", ["", "2>/dev/null"])
def test_a_command_ends_with_its_shell_and_what_it_left_is_killed(project, errors):
    late = f'(sleep 20; echo late >> "$OUT/all.txt") {errors} &'
    run_script(project, f'{late}\necho said >&2\nprintf unended >&2\necho > "$OUT/all.txt"\n')
    began = time.monotonic()
    built = project.build()
    assert built.exit_code == 0, built.stderr
    assert time.monotonic() - began < 15
    assert re.search(
        "`joined`: the command ended and left [12] of its processes running: they were killed", built.stderr
    )
    [log] = [text for path in project.store.glob("logs/*.log") if "said" in (text := path.read_text())]
    assert [line.partition(" ")[2] for line in log.splitlines()][:2] == ["said", "unended"]


def test_a_command_sees_only_the_variables_it_is_allowed(project):
    project.manifest(
        MANIFEST.replace(
            """'cat "$1"/*.txt > "$OUT/all.txt"'""", """'env > "$OUT/all.txt"'\n    environment = ["SEEN"]"""
        )
    )
    built = project.build(SEEN="yes", UNSEEN="no")
    assert built.exit_code == 0, built.stderr
    names = {line.partition("=")[0] for line in (project.root / "out/all.txt").read_text().splitlines()}
    assert "SEEN" in names
    assert "UNSEEN" not in names


def test_a_link_in_an_artifact_is_refused(project):
    project.manifest(MANIFEST.replace("""cat "$1"/*.txt > "$OUT/all.txt\"""", """ln -s /etc/passwd "$OUT/all.txt\""""))
    refused = project.build()
    assert refused.exit_code == 1
    assert "is not a plain file" in refused.stderr
