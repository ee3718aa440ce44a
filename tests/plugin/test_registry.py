import attrs
import pytest

import forge
from forge.core.errors import PluginError


@attrs.frozen
class Good:
    """Do well.

    At length.
    """

    def make(self, inputs, out, run): ...


class Plain:
    def make(self, inputs, out, run): ...


@attrs.frozen
class Idle: ...


@attrs.frozen
class Torn:
    def make(self, inputs, out, run): ...

    def transform(self, rows): ...


@attrs.frozen
class Half:
    def request(self, row): ...


@pytest.fixture
def register():
    return forge.Register("toy")


def test_a_step_type_is_known_by_its_plugin_and_name(register):
    register.transform("good", Good, version="1", inputs=["a", "b?"], heavy=True)
    found = register.types["good"]
    assert ("toy.good", "transform", "make", ("a", "b?"), "Do well.") == (
        found.use,
        found.kind,
        found.verb,
        found.inputs,
        found.summary,
    )


@pytest.mark.parametrize(
    ("kind", "cls", "message"),
    [
        ("transform", Plain, "the class of `toy.x` is not an attrs class"),
        ("transform", Idle, "must have one of the methods `transform`, `merge`, `split`, `make`, it has 0"),
        ("transform", Torn, "must have one of the methods `transform`, `merge`, `split`, `make`, it has 2"),
        ("source", Good, "the class of source `toy.x` must have one of the methods `read`, `fetch`, it has 0"),
        ("labeler", Half, "does not offer all methods of `Labeler`"),
    ],
)
def test_a_class_that_can_t_do_the_work_is_refused_with_what_is_wanted(register, kind, cls, message):
    with pytest.raises(PluginError) as caught:
        getattr(register, kind)("x", cls, version="1")
    assert message in caught.value.message


def test_a_name_is_registered_once(register):
    register.transform("good", Good, version="1")
    with pytest.raises(PluginError, match=r"plugin `toy` registers `toy.good` twice"):
        register.transform("good", Good, version="2")


def test_a_default_that_is_a_list_is_nobody_s_but_the_instance_s():
    @attrs.frozen
    class Settings:
        names: list[str] = forge.setting(["a"])  # noqa: RUF009  # attrs makes a factory of it

    Settings().names.append("b")
    assert ["a"] == Settings().names
