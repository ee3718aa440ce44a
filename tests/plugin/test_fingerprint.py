import importlib
import sys

import pytest

from forge.core.action import module_digests
from forge.plugin import fingerprint as module
from forge.plugin.fingerprint import describe, digest_data, fingerprint

STEPS = '''
"""Steps."""
import json
import logging

from . import helpers
from .deep.below import depth

logger = logging.getLogger(__name__)
LEAST = 3


class Step:
    """Do it."""

    def make(self, inputs, out, run):
        """Make it."""
        value = helpers.double(LEAST) + depth(1)
        return json.dumps(value)
'''
FILES = {
    "__init__.py": "",
    "steps.py": STEPS,
    "helpers.py": "def double(x):\n    return x * 2\n",
    "deep/__init__.py": "",
    "deep/below.py": "def depth(x):\n    return x\n",
    "unrelated.py": "def nothing():\n    return 0\n",
    "words/list.txt": "a\nb\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write a package, and take the fingerprint of its step as a new process would see it."""
    name = f"package_{tmp_path.name}"
    monkeypatch.syspath_prepend(str(tmp_path))

    def digests(**changes):
        files = FILES | {key.replace("__", "/") + ".py": value for key, value in changes.items()}
        for path, text in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text)
        for loaded in [m for m in sys.modules if m.partition(".")[0] == name]:
            del sys.modules[loaded]
        module._source.cache_clear()
        importlib.invalidate_caches()
        cls = importlib.import_module(f"{name}.steps").Step
        return module_digests(fingerprint(cls, frozenset(), describe, digest_data))

    digests.folder = tmp_path / name
    yield digests
    module._source.cache_clear()


def moved(before, after):
    return sorted(k.partition(".")[2] or k for k in before | after if before.get(k) != after.get(k))


def test_the_modules_that_a_step_uses_are_its_code(package):
    name = package.folder.name
    assert sorted([f"{name}.{m}" for m in ("steps", "helpers", "deep.below")] + [f"{name}/*"]) == sorted(
        key for key in package() if key not in (name, f"{name}.deep")
    )


@pytest.mark.parametrize(
    "change",
    [
        STEPS.replace("LEAST = 3", "LEAST = 3  # at least"),
        STEPS.replace('"""Do it."""', '"""Do it otherwise."""'),
        STEPS.replace('        """Make it."""\n', ""),
        STEPS.replace("LEAST = 3", "LEAST  =  (\n    3\n)"),
        STEPS.replace("        value", "        run.log('begin')\n        run.progress(1, 2)\n        value"),
        STEPS.replace("        value", "        logger.info('begin %s', LEAST)\n        value"),
        STEPS.replace("value = helpers.double(LEAST) + depth(1)", "value = (helpers.double(LEAST)) + depth(\n 1)"),
    ],
    ids=["comment", "docstring", "no docstring", "layout", "run.log", "logger", "parentheses"],
)
def test_what_means_nothing_moves_nothing(package, change):
    assert change != STEPS
    assert [] == moved(package(), package(steps=change))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LEAST = 3", "LEAST = 4"),
        ("LEAST = 3", "LEAST = 3.0"),
        ("LEAST = 3", "LEAST = True"),
        ("LEAST = 3", "LEAST = '3'"),
        (") + depth", ") - depth"),
        ("json.dumps(value)", "json.dumps(value, indent=1)"),
        ("        return", "        if not value:\n            return\n        return"),
        ("inputs, out, run", "inputs, out, run, more=1"),
        ("class Step:", "class Step(object):"),
        ("class Step:", "class Step(dict):"),
    ],
)
def test_a_changed_expression_moves_its_module_alone(package, old, new):
    assert ["steps"] == moved(package(), package(steps=STEPS.replace(old, new)))


def test_a_module_that_is_imported_counts(package):
    assert ["helpers"] == moved(package(), package(helpers="def double(x):\n    return x + x\n"))


def test_a_module_of_a_package_below_counts(package):
    before = package()
    assert ["deep.below"] == moved(before, package(deep__below="def depth(x):\n    return -x\n"))


def test_a_module_that_is_not_imported_does_not_count(package):
    assert [] == moved(package(), package(unrelated="def nothing():\n    return 1\n"))


def test_a_data_file_beside_the_module_counts(package):
    before = package()
    (package.folder / "words" / "more.txt").write_text("c\n")
    assert [f"{package.folder.name}/*"] == moved(before, package())


def test_bytecode_does_not_count(package):
    before = package()
    (package.folder / "__pycache__").mkdir(exist_ok=True)
    (package.folder / "__pycache__" / "x.pyc").write_bytes(b"1")
    assert [] == moved(before, package())


def test_swapped_definitions_mean_the_same_and_doubled_ones_do_not(tmp_path):
    one, two, three = (tmp_path / f"{n}.py" for n in "abc")
    one.write_text("def f():\n    return 1\n\ndef g():\n    return 2\n")
    two.write_text("def g():\n    return 2\n\ndef f():\n    return 1\n")
    three.write_text("def f():\n    return 1\n\ndef g():\n    return 2\n\ndef f():\n    return 3\n")
    definitions = [describe(path)["definitions"] for path in (one, two, three)]
    assert definitions[0] == definitions[1]
    assert ["f"] == [n for n in "fg" if definitions[0][n] != definitions[2][n]]


def test_looking_ahead_is_no_part_of_what_a_step_does(tmp_path):
    plain = tmp_path / "plain.py"
    plain.write_text("class Step:\n    def make(self):\n        return 1\n")
    looking = tmp_path / "looking.py"
    looking.write_text(
        "class Step:\n    def make(self):\n        return 1\n\n"
        "    def preflight(self, inputs, out, run):\n        from mine.ahead import look\n\n        return look(self)\n"
    )
    assert describe(plain) == describe(looking)


@pytest.mark.parametrize("name", ["words/.list.txt.swp", ".DS_Store", "words/list.txt~", ".mypy_cache/x.json"])
def test_what_editors_and_tools_leave_behind_does_not_count(package, name):
    before = package()
    (package.folder / name).parent.mkdir(exist_ok=True)
    (package.folder / name).write_text("1")
    assert [] == moved(before, package())


def test_data_beside_a_script_counts(package):
    package()
    (package.folder / "words/make.py").write_text("print(1)\n")
    before = package()
    (package.folder / "words/more.txt").write_text("c\n")
    assert [f"{package.folder.name}/*"] == moved(before, package())


def test_data_of_a_package_that_is_named_by_a_text_counts(package):
    (package.folder / "res").mkdir(parents=True)
    (package.folder / "res/__init__.py").touch()
    steps = STEPS.replace("LEAST = 3", f"LEAST = importlib.resources.files('{package.folder.name}.res')")
    steps = steps.replace("import json", "import importlib.resources\nimport json")
    (package.folder / "res/words.txt").write_text("b\n")
    before = package(steps=steps)
    (package.folder / "res/words.txt").write_text("c\n")
    assert ["res/*"] == moved(before, package(steps=steps))


def test_a_package_that_an_import_makes_reachable_counts(package):
    steps = STEPS.replace("import json", f"import json\nimport {package.folder.name}.helpers")
    assert package.folder.name in package(steps=steps)
    renamed = steps.replace(".helpers\n", ".helpers as other\n")
    assert f"{package.folder.name}.helpers" in package(steps=renamed)


@pytest.mark.parametrize(
    ("old", "new"), [("{**a, 'mark': b}", "{'mark': a, **b}"), ("lambda *, c, d=1: c", "lambda *, c=1, d: c")]
)
def test_where_nothing_stands_counts(tmp_path, old, new):
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    for path, text in ((one, old), (two, new)):
        path.write_text(f"def f(a, b):\n    return {text}\n")
    assert describe(one)["definitions"] != describe(two)["definitions"]


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """Write a plugin of one module, and take the fingerprint of its step as a new process would see it."""
    name = f"alone_{tmp_path.name}"
    monkeypatch.syspath_prepend(str(tmp_path))

    def digests():
        text = "WORDS = 'words.txt'\n\n\nclass Step:\n    def make(self, inputs, out, run):\n        return WORDS\n"
        (tmp_path / f"{name}.py").write_text(text)
        sys.modules.pop(name, None)
        module._source.cache_clear()
        importlib.invalidate_caches()
        return module_digests(fingerprint(importlib.import_module(name).Step, frozenset(), describe, digest_data))

    yield digests
    sys.modules.pop(name, None)
    module._source.cache_clear()


def test_beside_a_single_module_lies_what_is_nobody_s_but_what_it_names(alone, tmp_path):
    before = alone()
    (tmp_path / "store").mkdir()
    (tmp_path / "store/format").write_text("1")
    (tmp_path / "other-2.dist-info").mkdir()
    (tmp_path / "other-2.dist-info/METADATA").write_text("1")
    (tmp_path / "notes.md").write_text("1")
    assert before == alone()
    (tmp_path / "words.txt").write_text("a")
    assert [f"alone_{tmp_path.name}/*"] == sorted(key for key in alone() if key not in before)
