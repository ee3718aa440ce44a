"""The command line in this process: what it says where nothing is built."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from forge.cli.app import COMMANDS, run
from forge.store.base import Store

MANIFEST = """
[params]
first = "a"

[sources.raw]
use = "files.any"
path = "raw.txt"

[transforms.two]
use = "run.command"
from = "raw"
command = "cp ${first} $OUT"
"""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORGE_STORE", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "forge.toml").write_text(MANIFEST)
    (tmp_path / "raw.txt").write_text("raw")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("build missing.toml", "error: no manifest at `missing.toml`"),
        ("build frge.toml", "hint: did you mean `forge.toml`?"),
        ("build folder", "error: `folder` is a folder, not a manifest"),
        ("build forge.toml tow", "did you mean `two`?"),
        ("build forge.toml --set frist=b", "did you mean `first`?"),
        ("build forge.toml --set first", "error: `--set first` is not of the form key=value"),
        ("build forge.toml --jobs 0", "0 is not in the range"),
        ("build forge.toml --executor moon", "moon"),
        ("build forge.toml --forse", "--forse"),
        ("build", "MANIFEST"),
        ("biuld forge.toml", "did you mean `build`?"),
        ("plan forge.toml tow", "did you mean `two`?"),
        ("show forge.toml tow", "did you mean `two`?"),
        ("show forge.toml two", "hint: run `forge build forge.toml two`"),
        ("get forge.toml two out", "error: step `two` is not built"),
        ("explain forge.toml tow", "did you mean `two`?"),
        ("plugins show flies.any", "did you mean `files`?"),
        ("plugins show files.ayn", "did you mean `any`?"),
        ("store verfy", "verfy"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2_with_a_word_of_help(capsys, command, message):
    code = run(command.split())
    said = capsys.readouterr()
    assert (2, "", True) == (code, said.out, message in said.err), said.err
    assert "Traceback" not in said.err


def test_help_lists_every_command_with_what_it_does(capsys):
    assert 0 == run(["--help"])
    said = capsys.readouterr().out
    assert [] == [
        name for name, does in COMMANDS.items() if not re.search(rf"^  {name} +{re.escape(does)}$", said, re.MULTILINE)
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys, command):
    assert 0 == run([command, "--help"])
    assert "Usage: forge" in capsys.readouterr().out


def test_no_command_at_all_shows_help_and_is_exit_code_2(capsys):
    assert 2 == run([])
    said = capsys.readouterr()
    assert "Usage: forge" in said.out + said.err


def test_the_version_is_told(capsys):
    import forge

    assert (0, f"forge, version {forge.__version__}\n") == (run(["--version"]), capsys.readouterr().out)


def test_a_plan_says_what_a_build_would_run(capsys):
    assert 0 == run(["plan", "forge.toml"])
    said = capsys.readouterr().out
    assert "never built" in said
    assert "2 of 2 steps would run" in said


def test_a_check_counts_steps_and_files(capsys):
    assert 0 == run(["check", "forge.toml"])
    assert "2 steps, 1 file" in capsys.readouterr().out


def test_the_store_is_where_the_command_line_or_the_environment_says(capsys, project, monkeypatch):
    run(["plan", "forge.toml"])
    monkeypatch.setenv("FORGE_STORE", str(project / "named"))
    run(["plan", "forge.toml"])
    run(["plan", "forge.toml", "--store", "given"])
    assert [True, True, True] == [(project / name / "format").is_file() for name in ("store", "named", "given")]


def test_an_empty_store_is_whole(project, capsys):
    Store.open(project / "store")
    assert 0 == run(["store", "verify"])
    assert "0 records, no fault" in capsys.readouterr().out


def test_looking_at_a_store_that_is_not_there_makes_none(project, capsys):
    assert 4 == run(["store", "verify", "--store", "elsewhere"])
    assert "there is no store at `elsewhere`" in capsys.readouterr().err
    assert not (project / "elsewhere").exists()


def test_a_bug_keeps_its_traceback(monkeypatch):
    def broken(*_, **__):
        raise IndexError("a bug")

    monkeypatch.setattr("forge.plan.load.load", broken)
    with pytest.raises(IndexError, match="a bug"):
        run(["plan", "forge.toml"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("arguments", ["--help", "plugins list", "plan forge.toml", "build forge.toml"])
def test_an_output_that_cannot_be_written_is_one_line_and_exit_code_1(project, arguments):
    command = [sys.executable, "-c", "from forge.cli.start import main; main()", *arguments.split()]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert 1 == done.returncode
    assert "error: standard output can't be written: No space left on device" == done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_what_a_file_s_name_holds_does_not_reach_the_terminal():
    from forge.cli.render import escape

    assert r"a\x1b[31mred\x07" == escape("a\x1b[31mred\x07")
    assert "line\nnext\ttab" == escape("line\nnext\ttab")
    assert "中文 é" == escape("中文 é")
