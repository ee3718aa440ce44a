import attrs
import pytest

from forge.core.artifact import Member, Tree
from forge.core.digest import digest_bytes
from forge.core.errors import UsageError
from forge.core.record import Record
from forge.store.actions import Actions
from forge.store.base import Store
from forge.store.lineage import Lineage, Target


@attrs.define
class World:
    """Publish actions whose artifacts are made of texts."""

    store: Store
    count: int = 0

    def tree(self, **members):
        with self.store.staging() as folder:
            for name, text in members.items():
                path = folder / name.replace("__", "/")
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
            return self.store.add_tree(folder)

    def action(self, step, tree, inputs=(), files=None, started="2026-01-01T00:00:00+00:00"):
        """Publish one action that made *tree*; *files* maps names to texts outside the store."""
        self.count += 1
        action = {"use": "toy.one", "files": {}}
        if files is not None:
            outside = Tree({n: Member(digest_bytes(text.encode()), len(text)) for n, text in files.items()})
            action["files"] = {"path": self.store.publish_tree(outside, durable=False).digest}
        record = Record(
            f"{self.count:064x}",
            step,
            "transform",
            "toy.one",
            action,
            {f"i{n}": each.digest for n, each in enumerate(inputs)},
            tree.digest,
            0.1,
            started=started,
        )
        Actions(self.store).publish(record, durable=False)
        return record


@pytest.fixture
def world(tmp_path):
    return World(Store.open(tmp_path / "store"))


def file(text):
    return Target("file", digest_bytes(text.encode()))


def steps(links):
    return [link.record.step for link in links]


def test_a_part_leads_to_the_step_that_made_the_whole(world):
    whole = world.tree(train__rows="1", eval__rows="2")
    world.action("split", whole)
    part = world.store.publish_tree(whole.part("train"), durable=False)
    world.action("model", world.tree(model="m"), [part])
    lineage = Lineage.read(world.store)
    [model, split] = lineage.backward(file("m"))
    assert ("model", "split") == (model.record.step, split.record.step)
    assert ("train", split.record.key) == (model.inputs["i0"].part, model.inputs["i0"].key)
    assert ["model"] == steps(lineage.forward(file("1")))
    assert [] == lineage.forward(file("2"))


def test_a_diamond_is_told_once_and_in_order(world):
    raw, left, right, both = (world.tree(a=text) for text in ("raw", "left", "right", "both"))
    world.action("raw", raw, files={"a.txt": "raw file"})
    world.action("left", left, [raw])
    world.action("right", right, [left, raw])
    world.action("both", both, [right, left])
    lineage = Lineage.read(world.store)
    assert ["both", "right", "left", "raw"] == steps(lineage.backward(file("both")))
    assert ["raw", "left", "right", "both"] == steps(lineage.forward(file("raw file")))


def test_of_two_makers_the_newest_that_was_there_in_time_is_named(world):
    same = world.tree(a="same")
    world.action("old", same, files={"a": "old"}, started="2026-01-01T00:00:00+00:00")
    world.action("newer", same, files={"a": "newer"}, started="2026-01-02T00:00:00+00:00")
    world.action("model", world.tree(m="m"), [same], started="2026-01-03T00:00:00+00:00")
    world.action("later", same, files={"a": "later"}, started="2026-01-04T00:00:00+00:00")
    lineage = Lineage.read(world.store)
    [_, maker] = lineage.backward(file("m"))
    assert ("newer", 2) == (maker.record.step, len(maker.equals))
    for text in ("old", "newer", "later"):
        assert [text, "model"] == steps(lineage.forward(file(text)))


def test_copies_of_copies_lead_to_the_first_and_come_to_an_end(world):
    tree = world.tree(a="same")
    world.action("first", tree)
    world.action("copy", tree, [tree])
    world.action("copy of it", tree, [tree])
    lineage = Lineage.read(world.store)
    assert ["first"] == steps(lineage.backward(file("same")))
    assert {"copy", "copy of it"} == set(steps(lineage.forward(file("same"))))


def test_two_artifacts_made_of_each_other_come_to_an_end(world):
    upper, lower = world.tree(a="UP"), world.tree(a="low")
    world.action("up", upper, [lower])
    world.action("down", lower, [upper])
    lineage = Lineage.read(world.store)
    assert {"up", "down"} == set(steps(lineage.backward(file("UP"))))
    assert {"up", "down"} == set(steps(lineage.forward(file("UP"))))


def test_a_record_older_than_names_of_files_says_so(world):
    record = world.action("raw", world.tree(a="a"), files={"a.txt": "raw"})
    world.store.tree_path(record.action["files"]["path"]).unlink()
    [link] = Lineage.read(world.store).backward(file("a"))
    assert {"path": None} == link.files


def test_an_input_that_nothing_made_any_more_is_unknown(world):
    made = world.tree(a="a")
    world.action("model", world.tree(m="m"), [made])
    [link] = Lineage.read(world.store).backward(file("m"))
    assert {"i0": None} == link.inputs


def test_a_damaged_tree_is_passed_over(world):
    raw = world.tree(a="raw")
    world.action("raw", raw, files={"a": "x"})
    world.action("model", world.tree(m="m"), [raw])
    world.store.tree_path(raw.digest).write_text("{")
    lineage = Lineage.read(world.store)
    assert ["model", "raw"] == steps(lineage.backward(file("m")))
    assert ["raw", "model"] == steps(lineage.forward(file("x")))


def test_a_prefix_names_what_it_stands_for(world):
    tree = world.tree(a="a")
    record = world.action("one", tree)
    world.action("two", world.tree(a="b"))
    lineage = Lineage.read(world.store)
    assert file("a") == lineage.target(file("a").digest[:8].upper())
    assert Target("tree", tree.digest) == lineage.target(tree.digest)
    assert Target("action", record.key) == lineage.target(record.key)
    with pytest.raises(UsageError, match="is the start of 2 digests") as caught:
        lineage.target("0" * 60)
    assert "(action)" in caught.value.hint
