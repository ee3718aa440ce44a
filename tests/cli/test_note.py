"""What a snapshot may be taken of."""

from types import SimpleNamespace

from forge.cli.note import _FORESEEN, _foreseen
from forge.plugin.discovery import Registry


def test_all_that_forge_s_own_classes_look_at_is_noted():
    classes = [each.cls for each in Registry().all().values() if each.cls.__module__.startswith("forge_")]
    asked = {
        getattr(c, name).__module__ for c in classes for name in ("facts", "files") if callable(getattr(c, name, None))
    }
    assert asked == _FORESEEN


def test_what_another_s_class_looks_at_is_not_known():
    class Own:
        def facts(self):
            return {}

    assert [True, False] == [_foreseen(SimpleNamespace(instance=each)) for each in (object(), Own())]
