"""What the README shows is what forge does."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def test_the_plugin_of_the_readme_builds(forge_project):
    [source] = [block for block in blocks("python") if "forge_register" in block]
    forge_project.plugin("loud", source)
    forge_project.write("in.py", "")
    forge_project.plugin(
        "words",
        "import attrs, forge\n\n"
        "@attrs.frozen\n"
        "class Words:\n"
        '    """Yield two rows."""\n\n'
        "    def read(self, run):\n"
        '        yield [{"text": "hello"}, {"text": ""}]\n\n'
        "@forge.hookimpl\n"
        "def forge_register(register):\n"
        '    register.source("words", Words, version="1")\n',
    )
    forge_project.manifest(
        '[sources.words]\nuse = "words.words"\n'
        '[transforms.loud]\nuse = "loud.shout"\nfrom = "words"\ncolumn = "text"\nmark = "?"\n'
    )
    result = forge_project.build()
    assert result.exit_code == 0, result.stderr
    assert result.steps["loud"].rows_out == 1
    forge_project.forge("get", "forge.toml", "loud", "out.jsonl")
    assert (forge_project.root / "out.jsonl").read_text() == '{"text":"HELLO?"}\n'


def test_the_plugin_of_the_readme_is_twenty_lines():
    [source] = [block for block in blocks("python") if "forge_register" in block]
    assert len([line for line in source.splitlines() if line.strip()]) <= 20


@pytest.mark.parametrize("command", re.findall(r"^\| `forge (\w+)", README, flags=re.MULTILINE))
def test_each_command_of_the_readme_exists(command):
    from forge.cli.app import COMMANDS

    assert command in COMMANDS


def test_each_command_is_in_the_readme():
    from forge.cli.app import COMMANDS

    assert COMMANDS.keys() - set(re.findall(r"`forge (\w+)", README)) == set()


def test_the_manifest_of_the_readme_resolves():
    from forge.plan.load import load
    from forge.plan.resolve import resolve

    [text] = [block for block in blocks("toml") if "[sources.psyqa]" in block]
    path = ROOT / "README-manifest.toml"
    try:
        path.write_text(text, encoding="utf-8")
        assert list(resolve(load(path)).steps) == ["psyqa", "unified", "band"]
    finally:
        path.unlink()


@pytest.mark.parametrize("link", re.findall(r"\]\((docs/[^)]+)\)", README))
def test_each_link_of_the_readme_leads_somewhere(link):
    assert (ROOT / link).exists()
