import pytest

from forge.core import errors


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ForgeError", 1),
        ("UsageError", 2),
        ("ManifestError", 2),
        ("StepError", 1),
        ("CheckFailed", 1),
        ("Interrupted", 75),
        ("PluginError", 3),
        ("StoreError", 4),
    ],
)
def test_each_error_has_the_exit_code_of_the_tree(name, code):
    assert code == getattr(errors, name).exit_code
    assert name in errors.__doc__


def test_every_error_stands_in_the_tree_of_the_docstring():
    classes = [n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, errors.ForgeError)]
    assert [] == [name for name in classes if name not in errors.__doc__]


def test_a_manifest_s_problems_come_in_the_order_of_their_lines():
    problems = [errors.Problem("c", "b.toml", 1), errors.Problem("b", "a.toml", 9), errors.Problem("a", "a.toml")]
    error = errors.ManifestError(problems)
    assert (["a", "b", "c"], "a; b; c") == ([p.message for p in error.problems], str(error))
