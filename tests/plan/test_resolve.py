import attrs
import pytest

from forge.core.errors import ManifestError, PluginError
from forge.core.step import Input
from forge.plan.load import load
from forge.plan.resolve import resolve
from forge.plugin.discovery import Registry

RAW = """
[sources.raw]
use = "toy.read"
path = "data/*.txt"
"""
CHAIN = (
    RAW
    + """
[transforms.keep]
use = "toy.keep"
from = "raw"

[transforms.halves]
use = "toy.halves"
from = "keep"

[trainers.fit]
use = "toy.fit"
from = { data = "halves.early" }
resources = { cpus = 2, memory = "4G" }
"""
)


def problems(plan, text, *sets):
    with pytest.raises(ManifestError) as caught:
        plan(text, *sets)
    return [(p.line, p.step, p.message, p.hint) for p in caught.value.problems]


def test_steps_come_after_what_they_need(plan):
    turned = "\n".join("[" + table for table in reversed(CHAIN.split("\n[")[1:]))
    assert ["raw", "keep", "halves", "fit"] == list(plan(turned).steps)


def test_inputs_are_joined_by_name_and_part(plan):
    steps = plan(CHAIN).steps
    assert (Input("rows", "raw"),) == steps["keep"].inputs
    assert (Input("data", "halves", "early"),) == steps["fit"].inputs
    assert "halves.early" == steps["fit"].inputs[0].reference


def test_resources_are_read_and_are_no_parameters(plan):
    fit = plan(CHAIN).steps["fit"]
    assert (2, "4G", {}) == (fit.resources.cpus, fit.resources.memory, fit.params)


def test_facts_are_the_versions_that_the_step_type_declares(plan):
    from importlib.metadata import version

    assert {"attrs": version("attrs"), "no-such-distribution": "not installed"} == plan(CHAIN).steps["fit"].facts


def test_the_seed_is_the_manifest_s_unless_the_step_has_its_own(plan):
    seeded = "[forge]\nseed = 42\n" + CHAIN
    assert [42, 7] == [plan(seeded, *s).steps["fit"].instance.seed for s in ((), ("fit.seed=7",))]


def test_targets_cut_the_graph_down_to_what_they_need(plan):
    assert ["raw", "keep"] == list(plan(CHAIN, targets=["keep"]).steps)


def test_an_optional_input_may_be_given(plan):
    both = CHAIN.replace('{ data = "halves.early" }', '{ data = "halves.early", eval = "halves.late" }')
    assert ["data", "eval"] == [i.name for i in plan(both).steps["fit"].inputs]


def step(kind="transforms", use="toy.keep", rest='from = "raw"\n'):
    return f'{RAW}[{kind}.x]\nuse = "{use}"\n{rest}'


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        (step(use="toy.kepe"), 6, "unknown step type `toy.kepe`: plugin `toy` has no step type `kepe`", "did you mean `keep`?"),  # noqa: E501
        (step(use="tog.keep"), 6, "unknown step type `tog.keep`: no plugin called `tog` is installed", "did you mean `toy`?"),  # noqa: E501
        (step(kind="exporters"), 6, "`toy.keep` is a transform, it stands under `[exporters]`", "write `[transforms.x]`"),  # noqa: E501
        (step(rest=""), 5, "`from` is missing", 'name a step, such as `from = "raw"`'),
        (step(rest='from = "rwa"\n'), 7, "there is no step `rwa`", "did you mean `raw`?"),
        (step(rest="from = 3\n"), 7, "`from` must be a step, a list or a table of steps, got `3`", None),
        (step(rest="from = [3]\n"), 7, "`from` names steps by strings, got `3`", None),
        (step(rest='from = "raw"\nleest = 3\n'), 8, "there is no parameter `leest`", "did you mean `least`?"),
        (step(rest='from = "raw"\nleast = "3"\n'), 8, '`least` must be an integer, got `"3"`', None),
        (step(rest='from = "raw"\nleast = -1\n'), 8, "`least` must be >= 0, got `-1`", None),
        (step(rest='from = "raw"\n[transforms.x.table]\na = 3\n'), 8, "`table.a` must be a string, got `3`", None),
        (step(rest='from = "raw"\nresources = { cpu = 3 }\n'), 8, "there is no resource `cpu`", "did you mean `cpus`?"),
        (step(rest='from = "raw"\nresources = 3\n'), 8, "`resources` must be a table, got `3`", None),
        (RAW + 'from = "raw"\n', 5, "a source takes no `from`", None),
        (step("trainers", "toy.fit", 'from = { date = "raw", data = "raw" }\n'), 7, "`toy.fit` has no input `date`", "did you mean `data`?"),  # noqa: E501
        (step("trainers", "toy.fit", 'from = { eval = "raw" }\n'), 7, "the input `data` of `toy.fit` is missing", "it wants `data`, `eval` (optional)"),  # noqa: E501
        (step("trainers", "toy.fit", 'from = ["raw"]\n'), 7, "`toy.fit` wants its inputs by name: `data`, `eval` (optional)", None),  # noqa: E501
        (step(use="toy.halves", rest='from = ["raw", "raw"]\n'), 7, "`toy.halves` takes one input, got 2", None),
        (step(rest='from = ["raw", "raw"]\n'), 7, "`raw` stands 2 times in `from`", "name each step once"),
        (step(use="toy.needy"), 6, "`toy.needy` needs `no_such_module`, which is not installed", "pip install 'forge[train]'"),  # noqa: E501
        (CHAIN.replace("halves.early", "halves"), 16, "step `halves` has several parts, name one of them", "`halves.early`, `halves.late`"),  # noqa: E501
        (CHAIN.replace("halves.early", "halves.erly"), 16, "step `halves` has no part `erly`", "did you mean `early`?"),
    ],
)  # fmt: skip
def test_a_problem_is_told_with_line_step_value_and_what_was_meant(plan, text, line, message, hint):
    ((found_line, _, found, found_hint),) = problems(plan, text)
    assert (line, message, hint) == (found_line, found, found_hint)


def test_a_missing_file_is_told_with_the_folder_it_was_looked_for_in(plan, tmp_path):
    assert [(4, "raw", f"`path`: no file matches `data/*.csv` below `{tmp_path}`", None)] == problems(
        plan, RAW.replace(".txt", ".csv")
    )


def test_steps_that_wait_for_each_other_are_told_in_order(plan):
    text = RAW + "".join(
        f'[transforms.{name}]\nuse = "toy.join"\nfrom = "{needs}"\n'
        for name, needs in (("a", "c"), ("b", "a"), ("c", "b"))
    )
    ((_, _, message, _),) = problems(plan, text)
    assert message.startswith("steps wait for each other: ")
    assert 4 == message.count("→") + 1


def test_all_problems_come_at_once_in_the_order_of_their_lines(plan):
    text = RAW.replace("read", "raed") + '[transforms.x]\nuse = "toy.keep"\nfrom = "rwa"\nleast = -1\nwodr = ""\n[transforms.y]\nuse = "toy.join"\nfrom = "y"\n'  # fmt: skip  # noqa: E501
    assert [3, 7, 9, 12] == sorted({line for line, *_ in problems(plan, text)} - {8})


def test_a_problem_of_a_value_that_was_set_names_the_command_line(plan):
    with pytest.raises(ManifestError) as caught:
        plan(CHAIN, "keep.least=many")
    assert [("--set keep.least", None, '`least` must be an integer, got `"many"`')] == [
        (p.file, p.line, p.message) for p in caught.value.problems
    ]


def test_a_plugin_that_can_t_be_loaded_is_no_problem_of_the_manifest(plan, registry):
    registry.modules = {"toy": "toy_plugin", "bad": "no_such_module_anywhere"}
    with pytest.raises(PluginError, match="can't be loaded"):
        plan(step(use="bad.x"))


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('fails = "files"', "`files` of `toy.named` fails: IndexError('list index out of range') ("),
        ('fails = "facts"', "`facts` of `toy.named` fails: KeyError('mode') ("),
        ('fails = "json"', "`facts` of `toy.named` must give values that JSON has, got `{1}` as `mode`"),
        ("checked = 1", "`__init__` of `toy.named` fails: KeyError(1) ("),
    ],
)
def test_what_fails_in_a_class_is_told_of_its_step_and_line(plan, line, what):
    [(_, step, message, _)] = problems(plan, f'[sources.w]\nuse = "toy.named"\n{line}\n')
    assert ("w", True) == (step, message.startswith(what)), message
    assert not what.endswith("(") or f"{__file__.replace('test_resolve', 'conftest')}, line " in message


def named(path):
    return f'[sources.w]\nuse = "toy.named"\npath = "{path}"\n'


def test_a_file_that_a_class_names_stays_in_the_project(plan, tmp_path, monkeypatch):
    project = tmp_path / "data"
    monkeypatch.setattr("forge.plan.load.root_of", lambda *_: project)
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (project / "link").symlink_to(secret)
    for path in (secret, project / "../secret.txt", project / "link"):
        [(_, _, message, hint)] = problems(plan, named(path))
        assert f"`toy.named` names `{path}`, which leads out of the project" == message
        assert "FORGE_ALLOW=/folder" in hint
    assert plan(named(project / "a.txt")).steps["w"].files["files()"]
    monkeypatch.setenv("FORGE_ALLOW", str(tmp_path))
    assert plan(named(secret)).steps["w"].files["files()"]


def test_a_class_names_files_of_the_hub_s_cache_and_of_packages(plan, tmp_path, monkeypatch):
    monkeypatch.setattr("forge.plan.load.root_of", lambda *_: tmp_path / "data")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for path in ("hf/hub/models--x/blobs/a", "hf/token"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    for path in (tmp_path / "hf/hub/models--x/blobs/a", attrs.__file__):
        assert plan(named(path)).steps["w"].files["files()"]
    assert 1 == len(problems(plan, named(tmp_path / "hf/token")))


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import no_such_thing\n", "No module named 'no_such_thing'\") ({file}, line 1)"),
        ("\nx = (\n", "({file}, line 2)"),
        ("import sys\n\nsys.exit()\n", "ends the process when it is imported: SystemExit() ({file}, line 3)"),
    ],
)  # fmt: skip
def test_a_plugin_that_can_t_be_imported_is_told_with_its_line(write, tmp_path, monkeypatch, source, what):
    file = write(source, "broken_for_forge.py")
    monkeypatch.syspath_prepend(tmp_path)
    manifest = load(write('[sources.w]\nuse = "broken.read"\n'))
    with pytest.raises(PluginError) as caught:
        resolve(manifest, Registry({"broken": "broken_for_forge"}))
    assert what.format(file=file) in caught.value.message


def test_a_plugin_without_a_hook_says_what_is_missing(write, tmp_path, monkeypatch):
    write("def forge_register(register):\n    pass\n", "bare_for_forge.py")
    monkeypatch.syspath_prepend(tmp_path)
    manifest = load(write('[sources.w]\nuse = "bare.read"\n'))
    with pytest.raises(ManifestError) as caught:
        resolve(manifest, Registry({"bare": "bare_for_forge"}))
    assert "mark its function `forge_register` with `@forge.hookimpl`" in str(caught.value.problems[0].hint)
