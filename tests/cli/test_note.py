"""What a snapshot may be taken of."""

from types import SimpleNamespace

import forge
from forge.cli.note import _foreseen
from forge.plugin.discovery import Registry


def test_all_that_forge_s_own_classes_look_at_is_noted():
    classes = [each.cls for each in Registry().all().values() if each.cls.__module__.startswith("forge_")]
    assert 40 < len(classes)
    assert all(_foreseen(SimpleNamespace(instance=each)) for each in classes)


def test_what_another_s_class_looks_at_is_known_only_if_it_says_so():
    class Plain:
        pass

    class Own:
        def facts(self):
            return {}

    class Marked(Own):
        @forge.foreseen
        def facts(self):
            return {}

    class Half(Marked):
        def files(self):
            return []

    found = [_foreseen(SimpleNamespace(instance=each())) for each in (Plain, Own, Marked, Half)]
    assert [True, False, True, False] == found
