import subprocess
import sys

import pytest

from forge.core.errors import PluginError
from forge.plugin.discovery import Registry, installed

SOURCE = """
import attrs
import forge

@attrs.frozen
class Nothing:
    def make(self, inputs, out, run): ...

@forge.hookimpl
def forge_register(register):
    register.transform("nothing", Nothing, version="1")
"""


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    def made(**sources):
        for name, source in sources.items():
            (tmp_path / f"{name}_of_{tmp_path.name}.py").write_text(source)
        return Registry({name: f"{name}_of_{tmp_path.name}" for name in sources})

    return made


def test_a_step_type_is_found_by_the_name_that_manifests_use(registry):
    assert "toy.nothing" == registry(toy=SOURCE).find("toy.nothing").use


def test_a_plugin_that_no_one_asks_for_is_not_imported(registry):
    found = registry(toy=SOURCE, bad="raise SystemError")
    assert "toy.nothing" == found.find("toy.nothing").use


def test_two_plugins_do_not_hear_each_other_s_hooks(registry):
    found = registry(one=SOURCE, two=SOURCE.replace('"nothing"', '"other"'))
    assert {"one.nothing", "two.other"} == found.all().keys()


def test_several_entry_points_serve_one_namespace(registry, tmp_path):
    modules = registry(one=SOURCE, two=SOURCE.replace('"nothing"', '"other"'), three=SOURCE).modules
    found = Registry({"toy": modules["one"], "toy.other": modules["two"], "else.where": modules["three"]})
    assert ["else.nothing", "toy.nothing", "toy.other"] == sorted(found.all())
    assert "toy.other" == found.find("toy.other").use


def test_one_name_from_two_entry_points_of_a_namespace_is_refused(registry):
    modules = registry(one=SOURCE, two=SOURCE).modules
    with pytest.raises(PluginError, match=r"plugin `toy` registers `toy\.nothing` twice"):
        Registry({"toy": modules["one"], "toy.more": modules["two"]}).find("toy.nothing")


@pytest.mark.parametrize(
    ("use", "message", "hint"),
    [
        ("toi.nothing", "no plugin called `toi` is installed", "did you mean `toy`?"),
        ("toy.nothin", "plugin `toy` has no step type `nothin`", "did you mean `nothing`?"),
    ],
)
def test_what_is_not_there_is_named_with_what_was_meant(registry, use, message, hint):
    with pytest.raises(PluginError) as caught:
        registry(toy=SOURCE).find(use)
    assert (message, hint) == (caught.value.message, caught.value.hint)


def test_a_plugin_that_fails_to_import_says_how(registry):
    with pytest.raises(PluginError, match=r"plugin `bad` \(`bad_of_.*`\) can't be loaded: ImportError\('libx'\)"):
        registry(bad="raise ImportError('libx')").find("bad.x")


def test_a_plugin_that_breaks_its_contract_says_how_each_time_it_is_asked(registry):
    found = registry(bad=SOURCE.replace("@attrs.frozen", ""))
    with pytest.raises(PluginError, match=r"plugin `bad` breaks its contract: the class of `bad.nothing`") as caught:
        found.find("bad.nothing")
    assert "decorate `Nothing` with `@attrs.frozen`" == caught.value.hint
    # with a cause it is no problem of the manifest's
    assert caught.value.__cause__ is not None


def test_looking_plugins_up_imports_none(forge_project):
    forge_project.plugin("loud", "raise SystemError('imported')")
    code = "from forge.plugin.discovery import installed; print(installed()['loud'])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=forge_project._environment({})
    )
    assert ("loud_plugin\n", "") == (done.stdout, done.stderr)


def test_two_distributions_may_not_offer_one_name(forge_project):
    forge_project.plugin("twice", "")
    forge_project.write("plugins/other-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    forge_project.write("plugins/other-1.dist-info/entry_points.txt", "[forge]\ntwice = elsewhere\n")
    result = forge_project.forge("plugins", "list")
    assert (3, True) == (result.exit_code, "two distributions offer a plugin called `twice`" in result.stderr)


def test_what_a_plugin_prints_while_it_is_loaded_is_no_result(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "chatty_plugin.py").write_text(
        'import forge\n\nprint("hello")\n\n\n@forge.hookimpl\ndef forge_register(register):\n    pass\n'
    )
    Registry({"chatty": "chatty_plugin"}).plugin("chatty")
    assert ("", "hello\n") == capsys.readouterr()


def test_an_entry_point_s_extras_are_no_part_of_its_module_and_an_attribute_is_refused(monkeypatch):
    monkeypatch.setattr("forge.plugin.discovery.entry_points", lambda _: [("one", "mine [x,y]"), ("two", "mine:part")])
    assert {"one": "mine", "two": "mine:part"} == installed()
    with pytest.raises(PluginError, match="names `mine:part`, which is no module"):
        Registry(installed()).plugin("two")
