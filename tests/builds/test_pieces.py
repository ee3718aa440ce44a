"""What was read of a file, and made of a row, is not read and made again."""

import json

import pytest

PLUGIN = '''
import os

import attrs

import forge


def _note(line):
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{line}\\n")


@attrs.frozen
class Lines:
    """Read words, a line each; `-` is rejected, a file that begins with `!` gives numbers."""

    path: forge.Files
    capitals: bool = False

    def read(self, run):
        for file in self.path:
            _note(file.name)
            for number, line in enumerate(file.read_text().splitlines(), start=1):
                if line == "-":
                    yield forge.Reject(file.name, "no word", number, line)
                elif line.startswith("!"):
                    yield [{"id": f"{file.name}:{number}", "other": number}]
                else:
                    yield [{"id": f"{file.name}:{number}", "word": line.upper() if self.capitals else line}]


@attrs.frozen
class Measure:
    """Count the letters of words; short ones leave."""

    least: int = 1
    faulty: bool = False

    def transform(self, rows):
        import polars as pl

        frame = rows.collect()
        _note(f"rows {frame.height}")
        made = frame.lazy().with_columns(length=pl.col("word").str.len_chars())
        if self.faulty:
            return made.filter(pl.col("length") > 1)
        return forge.drop(made, {"short": pl.col("length") < self.least})


@forge.hookimpl
def forge_register(register):
    register.source("lines", Lines, version="1", each_file=True)
    register.transform("measure", Measure, version="1", rowwise=True)
'''
MANIFEST = """
    [sources.lines]
    use = "toy.lines"
    path = "words/*.txt"

    [transforms.measure]
    use = "toy.measure"
    from = "lines"
    least = 2
    """
FILES, ROWS = 65, 20


@pytest.fixture
def project(forge_project):
    forge_project.plugin("toy", PLUGIN)
    for file in range(FILES):
        words = [f"w{file}x{row}" for row in range(ROWS - 2)]
        forge_project.write(f"words/{file:02}.txt", "\n".join([*words, "a", "-" if file == 3 else "b"]))
    forge_project.manifest(MANIFEST)
    forge_project.environment["NOTES"] = str(forge_project.root / "notes")
    assert 0 == forge_project.build().exit_code
    forget(forge_project)
    return forge_project


def forget(project):
    (project.root / "notes").unlink(missing_ok=True)


def notes(project):
    path = project.root / "notes"
    return path.read_text().splitlines() if path.exists() else []


def whole(project, *arguments):
    """Build in a store that holds no piece, and return what steps hold there."""
    fresh = project.build(*arguments, "--store", "fresh")
    assert 0 == fresh.exit_code, fresh.stderr
    forget(project)
    return {name: step.outputs for name, step in fresh.steps.items()}


def built(project, *arguments):
    result = project.build(*arguments)
    assert 0 == result.exit_code, result.stderr
    return {name: step.outputs for name, step in result.steps.items()}


def test_of_65_files_the_one_that_changed_is_read_and_its_rows_are_done(project):
    path = project.root / "words" / "07.txt"
    path.write_text(path.read_text().replace("w7x1\n", "another\n"))
    made = built(project)
    assert ["07.txt", "rows 1"] == notes(project)
    assert made == whole(project)


def test_the_ledger_counts_what_pieces_hold(project):
    project.write("words/07.txt", "c\nword\n-")
    assert 0 == project.build().exit_code
    shown = json.loads(project.forge("show", "forge.toml", "lines", "--json").stdout)
    assert {"no word": 2} == shown["drops"]
    shown = json.loads(project.forge("show", "forge.toml", "measure", "--json").stdout)
    assert {"short": 2 * FILES - 2} == shown["drops"]


def test_a_row_that_is_gone_costs_nothing(project):
    (project.root / "words" / "07.txt").unlink()
    made = built(project)
    assert [] == notes(project)
    assert made == whole(project)


def test_rows_in_another_order_cost_nothing(project):
    (project.root / "words" / "07.txt").rename(project.root / "words" / "70.txt")
    made = built(project)
    assert ["70.txt", f"rows {ROWS}"] == notes(project)  # the name stands in the rows' ids
    assert made == whole(project)


def test_a_changed_parameter_does_all_rows_again(project):
    made = built(project, "--set", "measure.least=3")
    assert [f"rows {FILES * ROWS - 1}"] == notes(project)
    assert made == whole(project, "--set", "measure.least=3")


def test_a_changed_parameter_of_the_source_reads_all_files_again(project):
    built(project, "--set", "lines.capitals=true")
    assert FILES == sum(note.endswith(".txt") for note in notes(project))


def test_changed_code_does_all_rows_again(project):
    project.plugin("toy", PLUGIN.replace("len_chars()", "len_bytes()"))
    built(project)
    assert [FILES, 1] == [
        sum(n.endswith(".txt") for n in notes(project)),
        sum(n.startswith("rows") for n in notes(project)),
    ]


def test_files_with_other_columns_are_read_together(project):
    project.write("words/07.txt", "!\nword")
    made = built(project)
    assert FILES <= len([note for note in notes(project) if note.endswith(".txt")])
    assert made == whole(project)


def test_a_damaged_piece_counts_as_none(project):
    for pointer in (project.store / "pieces").glob("*/*.json"):
        digest = json.loads(pointer.read_text())
        path = project.store / "objects" / digest[:2] / digest[2:]
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    project.write("words/07.txt", "word")
    made = built(project)
    assert FILES == sum(note.endswith(".txt") for note in notes(project))
    assert made == whole(project)


def test_a_step_that_breaks_the_promise_of_one_row_each_is_refused(project):
    result = project.build("--set", "measure.faulty=true")
    assert (1, True) == (result.exit_code, "registered as row-wise and made" in result.stderr)


def test_a_collection_takes_pieces_that_wait_for_long(project):
    import os
    import time

    then = time.time() - 30 * 86400
    for path in project.store.rglob("*"):
        os.utime(path, (then, then), follow_symlinks=False)
    assert 0 == project.forge("store", "gc").exit_code
    assert [] == list((project.store / "pieces").glob("*/*.json"))
    assert {"hit"} == set(project.build().statuses.values())
