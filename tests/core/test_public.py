import subprocess
import sys

import pytest

import forge


def test_public_means_in_forge_s_all():
    assert set(forge.__all__) == {*forge._HOMES, "__version__"}
    assert sorted(forge.__all__) == forge.__all__


def test_every_public_name_is_there_with_a_docstring():
    bare = [name for name in forge.__all__ if name != "__version__" and not getattr(forge, name).__doc__]
    assert [] == bare


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module `forge` has no attribute `nothing`"):
        forge.nothing  # noqa: B018


def test_importing_forge_imports_none_of_its_modules():
    code = "import sys, forge; print([m for m in sys.modules if m.startswith(('forge.', 'attr', 'polars'))])"
    assert (
        "[]" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    )
