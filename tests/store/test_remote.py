import json
import os
import stat
import threading
import uuid

import attrs
import pytest

from forge.core.action import Action
from forge.core.artifact import Member, Tree
from forge.core.digest import canonical, digest_bytes, digest_value
from forge.core.errors import StoreError, UsageError
from forge.core.record import Record
from forge.store.actions import Actions
from forge.store.base import Store
from forge.store.faults import describe_damage
from forge.store.partial import arriving
from forge.store.pins import Pins
from forge.store.places import Bucket, Folder, open_place
from forge.store.pull import Pull
from forge.store.push import Push, rooted
from forge.store.remote import Remote, object_name, record_name, tree_name

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def without_a_key(monkeypatch):
    monkeypatch.delenv("FORGE_REMOTE_KEY", raising=False)


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "here")


@pytest.fixture
def other(tmp_path):
    return Store.open(tmp_path / "there")


@pytest.fixture(params=["folder", "s3", "memory"])
def url(request, tmp_path):
    """Name an empty remote of each kind."""
    if request.param == "folder":
        return str(tmp_path / "remote")
    if request.param == "s3":
        return f"s3://{request.getfixturevalue('bucket').name}/a/b"
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture(params=["folder", "memory"])
def near(request, tmp_path):
    """Name an empty remote that needs no server."""
    return str(tmp_path / "remote") if request.param == "folder" else f"memory://{uuid.uuid4().hex}"


def make(store, name, files, inputs=None, kind="transform"):
    """Publish an artifact and a record whose key fits."""
    with store.staging() as folder:
        for path, data in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        tree = store.add_tree(folder)
    inputs = inputs or {}
    action = Action("toy.make", "1", {"name": name}, tuple(("", d) for d in inputs.values()), {}, {"m": "1"}, {})
    value = json.loads(canonical(action.to_json()))
    record = Record(action.key, name, kind, "toy.make", value, inputs, tree.digest, 1.5, tree.size, None, 3)
    Actions(store).publish(record)
    return record


def push(store, url, records, **options):
    return Push(store, Remote.open(url, 4), **options).run(records)


def pull(store, url, keys=None, **options):
    each = Pull(store, Remote.open(url, 4), **options)
    each.open()
    each.find(each.keys() if keys is None else keys)
    each.take()
    return each


def counts(totals):
    return [(t.sent, t.there) for t in (totals.objects, totals.trees, totals.records)]


def change(url, name, data):
    """Put other bytes at a remote."""
    open_place(url).write(name, data)


def bytes_at(url, name):
    place = open_place(url)
    return b"".join(place.read(name, place.size(name)))


def in_store(store):
    return {
        part: sorted(p.parent.name + p.name for p in (store.root / part).glob("*/*"))
        for part in ("objects", "trees", "actions")
    }


# ---------------------------------------------------------------- there and back


def test_what_is_pushed_is_pulled_byte_by_byte(store, other, url):
    one = make(store, "one", {"a": b"1" * 1000, "b/c": b"2" * 20, "b/empty": b""})
    two = make(store, "two", {"a": b"1" * 1000, "d": b"3"}, {"one": one.tree})
    sent = push(store, url, [one, two])
    assert [(4, 0), (2, 0), (2, 0)] == counts(sent)
    assert 1021 == sent.objects.size
    came = pull(other, url)
    assert ([(4, 0), (2, 0), (2, 0)], [], 1021) == (counts(came.totals), came.refused, came.totals.objects.size)
    assert in_store(store) == in_store(other)
    for record in (one, two):
        assert record.tree == Actions(other).find(record.key).tree
        for member in other.tree(record.tree).members.values():
            other.check_object(member.digest)
    assert [] == describe_damage(other, Actions(other))


def test_only_what_is_missing_travels(store, other, url):
    one = make(store, "one", {"a": b"1" * 1000})
    push(store, url, [one])
    pull(other, url)
    two = make(store, "two", {"a": b"1" * 1000, "d": b"3"}, {"one": one.tree})
    assert [(1, 1), (1, 1), (1, 1)] == counts(push(store, url, [one, two]))
    assert [(0, 2), (0, 2), (0, 2)] == counts(push(store, url, [one, two]))
    assert [(1, 1), (1, 1), (1, 1)] == counts(pull(other, url).totals)
    assert [(0, 0), (0, 0), (0, 2)] == counts(pull(other, url).totals)


def test_a_large_object_travels_in_pieces(store, other, url, monkeypatch):
    monkeypatch.setattr("forge.store.places.CHUNK", 1000)
    record = make(store, "one", {"a": os.urandom(10_001), "b": os.urandom(3000)})
    heard = []
    push(store, url, [record], progress=lambda done, total: heard.append((done, total)))
    assert (13_001, 13_001) == heard[-1]
    heard.clear()
    came = pull(other, url, progress=lambda done, total: heard.append((done, total)))
    assert ([], (13_001, 13_001)) == (came.refused, max(heard))
    assert in_store(store) == in_store(other)


def test_a_dry_run_writes_nothing(store, other, near):
    record = make(store, "one", {"a": b"1" * 1000})
    assert [(1, 0), (1, 0), (1, 0)] == counts(push(store, near, [record], dry=True))
    assert None is Remote.open(near).format()
    push(store, near, [record])
    assert [(1, 0), (1, 0), (1, 0)] == counts(pull(other, near, dry=True).totals)
    assert {"objects": [], "trees": [], "actions": []} == in_store(other)


def test_a_pull_by_key_brings_that_record_alone(store, other, near):
    one, two = make(store, "one", {"a": b"1"}), make(store, "two", {"a": b"2"})
    push(store, near, [one, two])
    pull(other, near, [two.key, "ff" * 32])
    assert [two.key] == [record.key for record in Actions(other).all()]


def test_roots_are_last_builds_and_pins_that_are_whole(store):
    one, two, three = (make(store, name, {"a": name.encode()}) for name in ("one", "two", "three"))
    make(store, "four", {"a": b"4"})
    Actions(store).remember("m", {"one": one.key, "three": three.key})
    Pins(store).add("keep", two.key)
    store.object_path(digest_bytes(b"three")).unlink()
    assert {one.key, two.key} == {record.key for record in rooted(store)}


def test_a_store_s_own_folder_is_a_remote(store, other):
    record = make(store, "one", {"a": b"1"})
    assert [] == pull(other, str(store.root)).refused
    assert Actions(other).find(record.key) is not None
    assert Actions(Store.open(other.root)).find(record.key) is not None


def test_a_folder_that_was_pushed_to_is_a_store(store, tmp_path):
    record = make(store, "one", {"a": b"1"})
    push(store, str(tmp_path / "remote"), [record])
    shared = Store.open(tmp_path / "remote")
    assert ([], record.key) == (describe_damage(shared, Actions(shared)), Actions(shared).find(record.key).key)
    [path] = (tmp_path / "remote/objects").glob("*/*")
    assert 0o444 == stat.S_IMODE(path.stat().st_mode)


def test_what_a_check_read_travels_with_it(store, other, near, tmp_path):
    outside = tmp_path / "reference.json"
    outside.write_text("{}")
    member = attrs.evolve(store.add_copy(outside), executable=False)
    files = store.publish_tree(Tree({"reference.json": member}))
    record = make(store, "check", {"receipt.json": b"1"}, kind="check")
    action = dict(record.action) | {"files": {"reference": files.digest}}
    record = attrs.evolve(record, action=action, key=digest_value("action", action))
    Actions(store).publish(record)
    push(store, near, [record])
    assert [(2, 0), (2, 0), (1, 0)] == counts(pull(other, near).totals)
    assert b"{}" == other.read_object(member)


# ---------------------------------------------------------------- cut off


def interrupted(monkeypatch, cls, method, after):
    """Let the *after*th call of a place's method be the last one."""
    real, calls, lock = getattr(cls, method), [], threading.Lock()

    def call(*arguments):
        with lock:
            calls.append(arguments[1])
            if len(calls) > after:
                raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(cls, method, call)
    return calls


@pytest.mark.parametrize("cls", [Folder, Bucket])
def test_a_push_that_was_cut_off_names_nothing_and_goes_on(store, other, tmp_path, monkeypatch, cls):
    url = str(tmp_path / "remote") if cls is Folder else f"memory://{uuid.uuid4().hex}"
    records = [make(store, str(n), {"a": str(n).encode() * 100}) for n in range(20)]
    with monkeypatch.context() as patch:
        interrupted(patch, cls, "put", 7)
        with pytest.raises(KeyboardInterrupt):
            push(store, url, records)
    assert ([], 7) == (open_place(url).names("actions"), len(open_place(url).names("objects")))
    assert [(13, 7), (20, 0), (20, 0)] == counts(push(store, url, records))
    assert [(20, 0), (20, 0), (20, 0)] == counts(pull(other, url).totals)


def test_a_pull_that_was_cut_off_has_brought_what_is_whole_and_goes_on(store, other, tmp_path, monkeypatch):
    url = str(tmp_path / "remote")
    records = [make(store, str(n), {"a": str(n).encode() * 100, "b": str(n).encode() * 200}) for n in range(10)]
    push(store, url, records)
    with monkeypatch.context() as patch:
        # the format, records and trees come first
        interrupted(patch, Folder, "read", 1 + 20 + 9)
        with pytest.raises(KeyboardInterrupt):
            pull(other, url)
    brought = len(in_store(other)["objects"])
    assert 0 < brought <= 9
    assert [] == describe_damage(other, Actions(other))
    assert [] == list((other.root / "staging").iterdir())
    came = pull(other, url)
    assert (20 - brought, 10) == (came.totals.objects.sent, len(list(Actions(other).all())))
    assert in_store(store) == in_store(other)


@pytest.fixture
def large(store, near, monkeypatch):
    """Push an object of ten pieces, which is worth keeping half; return its bytes and digest."""
    monkeypatch.setattr("forge.store.places.CHUNK", 1000)
    monkeypatch.setattr("forge.store.partial.WORTH_KEEPING", 5000)
    data = os.urandom(10_000)
    push(store, near, [make(store, "one", {"a": data})])
    return data, digest_bytes(data)


def cut_off(monkeypatch, other, near, pieces):
    """Pull, and let the network fail after so many pieces."""
    cls = type(open_place(near))
    real = cls.read

    def read(self, name, size, start=0):
        for index, chunk in enumerate(real(self, name, size, start)):
            if name.startswith("objects/") and index == pieces:
                raise StoreError("the network is gone")
            yield chunk

    with monkeypatch.context() as patch:
        patch.setattr(cls, "read", read)
        with pytest.raises(StoreError, match="the network is gone"):
            pull(other, near)


def asked_for(monkeypatch, near):
    cls, asked = type(open_place(near)), []
    real = cls.read

    def read(self, name, size, start=0):
        if name.startswith("objects/"):
            asked.append(start)
        return real(self, name, size, start)

    monkeypatch.setattr(cls, "read", read)
    return asked


def test_a_large_file_goes_on_where_it_was_cut_off(store, other, near, large, monkeypatch):
    cut_off(monkeypatch, other, near, 4)
    cut_off(monkeypatch, other, near, 2)
    asked = asked_for(monkeypatch, near)
    heard = []
    came = pull(other, near, progress=lambda done, total: heard.append((done, total)))
    assert ([6000], [], (10_000, 10_000)) == (asked, came.refused, heard[-1])
    assert in_store(store) == in_store(other)
    assert [] == list((other.root / "staging").iterdir())


@pytest.mark.parametrize("left", [b"x" * 4000, b"x" * 20_000])
def test_what_was_left_of_a_large_file_and_is_damaged_is_asked_for_again(store, other, near, large, left, monkeypatch):
    (other.root / "staging" / f"pull-{large[1]}").write_bytes(left)
    assert [] == pull(other, near).refused
    assert in_store(store) == in_store(other)


def test_a_large_file_that_is_refused_leaves_nothing(other, near, large):
    change(near, object_name(large[1]), flip(large[0]))
    assert [("object", large[1], "holds other bytes than its name says", ["one"])] == refusals(pull(other, near))
    assert ([], []) == (list((other.root / "staging").iterdir()), in_store(other)["objects"])


def test_two_pulls_of_a_large_file_do_not_meet(store, other, near, large):
    with (
        arriving(other, Member(large[1], 10_000)) as (kept, first),
        arriving(other, Member(large[1], 10_000)) as second,
    ):
        first.write(b"half")
        first.flush()
        assert (b"", False) == (second[1].read(), second[0] == kept)
        assert [] == pull(other, near).refused
    assert b"half" == kept.read_bytes()
    assert in_store(store) == in_store(other)


# ---------------------------------------------------------------- a remote that is damaged or evil


@pytest.fixture
def shared(store, near):
    """Push two good records; return them."""
    one = make(store, "one", {"a": b"abc" * 1000, "b": b"x"})
    two = make(store, "two", {"a": b"good"})
    push(store, near, [one, two])
    return one, two


def refusals(came):
    return [(each.kind, each.digest, each.reason, list(each.steps)) for each in came.refused]


def flip(data):
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (flip, "holds other bytes than its name says"),
        (lambda data: data[:-1], "has 2,999 bytes, not 3,000"),
        (lambda data: data + b"x", "has 3,001 bytes, not 3,000"),
        (lambda _: b"", "has 0 bytes, not 3,000"),
    ],
)
def test_a_damaged_object_is_refused_and_the_rest_arrives(store, other, near, shared, how, reason):
    one, two = shared
    bad = digest_bytes(b"abc" * 1000)
    change(near, object_name(bad), how(b"abc" * 1000))
    came = pull(other, near)
    assert [("object", bad, reason, ["one"])] == refusals(came)
    assert (None, two.key) == (Actions(other).find(one.key), Actions(other).find(two.key).key)
    assert sorted([digest_bytes(b"x"), digest_bytes(b"good")]) == in_store(other)["objects"]
    assert [] == list((other.root / "staging").iterdir())
    error = came.refused[0].error(near)
    assert (True, True, 4) == (near in error.message, bad in error.message, error.exit_code)


def test_an_object_that_is_not_there_is_named(store, other, tmp_path):
    url = str(tmp_path / "remote")
    push(store, url, [make(store, "one", {"a": b"abc", "b": b"x"})])
    bad = digest_bytes(b"abc")
    (tmp_path / "remote" / object_name(bad)).unlink()
    assert [("object", bad, "is not there", ["one"])] == refusals(pull(other, url))


def test_a_push_that_verifies_mends_what_is_damaged(store, other, near, shared):
    one, two = shared
    change(near, object_name(digest_bytes(b"abc" * 1000)), flip(b"abc" * 1000))
    change(near, tree_name(two.tree), b"{}")
    change(near, record_name(two.key), b"{}")
    assert [(0, 3), (0, 2), (0, 2)] != counts(push(store, near, [one, two], verify=True, dry=True))
    assert [(1, 2), (1, 1), (1, 1)] == counts(push(store, near, [one, two], verify=True))
    assert [(0, 3), (0, 2), (0, 2)] == counts(push(store, near, [one, two], verify=True))
    assert [] == pull(other, near).refused


def test_what_a_bucket_holds_is_verified_as_well(store, other, bucket):
    url = f"s3://{bucket.name}/a/b"
    one, two = make(store, "one", {"a": b"abc" * 1000, "b": b"x"}), make(store, "two", {"a": b"good"})
    push(store, url, [one, two])
    bad = digest_bytes(b"abc" * 1000)
    bucket.Object(f"a/b/{object_name(bad)}").put(Body=flip(b"abc" * 1000))
    assert [("object", bad, "holds other bytes than its name says", ["one"])] == refusals(pull(other, url))
    assert [two.key] == [record.key for record in Actions(other).all()]
    assert [(1, 2), (0, 2), (0, 2)] == counts(push(store, url, [one, two], verify=True))
    assert [] == pull(other, url).refused


def evil_tree(value):
    return digest_value("tree", value), canonical(value)


NAMES = ["../evil", "/etc/evil", "a/../../evil", "", "a//b", "./a", "a/.", "a\0b", "a/", "\ud800"]


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_that_would_leave_its_folder_is_refused(store, other, tmp_path, name):
    url = str(tmp_path / "remote")
    good = make(store, "good", {"a": b"good"})
    evil = make(store, "evil", {"a": b"evil"})
    digest, data = evil_tree({name: [digest_bytes(b"evil"), 4]})
    evil = attrs.evolve(evil, tree=digest)
    push(store, url, [good, attrs.evolve(evil, tree=good.tree)])
    change(url, tree_name(digest), data)
    change(url, object_name(digest_bytes(b"evil")), b"evil")
    change(url, record_name(evil.key), forged(evil))
    came = pull(other, url)
    assert [("tree", digest, f"names a file outside its folder: `{name!r}`", ["evil"])] == refusals(came)
    assert [good.key] == [record.key for record in Actions(other).all()]
    assert not other.tree_path(digest).exists()


def forged(record, **fields):
    """Return a record under a seal that fits: what whoever can write to a remote can make."""
    value = json.loads(canonical(record.to_json())) | fields
    return json.dumps({"record": value, "seal": digest_value("record", value)}).encode()


DIGEST = digest_bytes(b"good")
TREES = {
    "names a file below another file": {"a": [DIGEST, 4], "a/b": [DIGEST, 4]},
    "is no tree of digests: ": {"a": ["../../../etc/passwd", 4]},
    "is no tree of digests": {"a": [DIGEST, -4]},
    "is damaged: it is no tree": {"a": [DIGEST, "4"]},
}


@pytest.mark.parametrize("reason", TREES)
def test_a_tree_that_is_no_artifact_is_refused(store, other, tmp_path, reason):
    digest, data = evil_tree(TREES[reason])
    record = make(store, "evil", {"a": b"good"})
    push(store, str(tmp_path / "remote"), [record])
    change(str(tmp_path / "remote"), tree_name(digest), data)
    change(str(tmp_path / "remote"), record_name(record.key), forged(record, tree=digest))
    [(kind, named, why, steps)] = refusals(pull(other, str(tmp_path / "remote")))
    assert ("tree", digest, True, ["evil"]) == (kind, named, why.startswith(reason), steps)
    assert {"objects": [], "trees": [], "actions": []} == in_store(other)


BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"record": 1}',
    b"[" * 100_000,
    b'{"record": {"a": NaN}}',
    b'{"record": {"a": 1e999}}',
]


@pytest.mark.parametrize("data", [*BODIES, b'{"record": {}, "seal": ""}', b"\xff\xfe"])
def test_a_record_that_is_none_is_refused(store, other, tmp_path, data):
    url = str(tmp_path / "remote")
    one, two = make(store, "one", {"a": b"1"}), make(store, "two", {"a": b"2"})
    push(store, url, [one, two])
    change(url, record_name(one.key), data)
    [(kind, named, why, _)] = refusals(pull(other, url))
    assert ("record", one.key, True) == (kind, named, why.startswith("is damaged"))
    assert [two.key] == [record.key for record in Actions(other).all()]


FORGERIES = {
    "is the record of another action": lambda one, two: forged(two),
    "does not fit its key: the action that it names": lambda one, two: forged(one, action=two.action),
    "does not fit its key: it names other inputs": lambda one, two: forged(one, inputs={"x": two.tree}),
    "is damaged: its field `tree`": lambda one, two: forged(one, tree="../../../../etc/passwd"),
    "is damaged: its field `inputs`": lambda one, two: forged(one, inputs={"x": "../../x"}),
    "is damaged: its field `step`": lambda one, two: forged(one, step="\x1b[2Jone"),
    "is damaged: its field `seconds`": lambda one, two: forged(one, seconds="1"),
    "is damaged: its field `action`": lambda one, two: forged(one, action=[]),
    "is damaged: its field `drops`": lambda one, two: forged(one, drops={"a": {}}),
    "is damaged: it does not fit its seal": lambda one, two: forged(one).replace(b'"one"', b'"eno"'),
    "is damaged: fields are missing": lambda one, two: (
        b'{"record": {}, "seal": "%s"}' % digest_value("record", {}).encode()
    ),
    "names an artifact that is not there": lambda one, two: forged(one, tree="ab" * 32),
}


@pytest.mark.parametrize("reason", FORGERIES)
def test_a_record_that_does_not_fit_is_refused(store, other, tmp_path, reason):
    url = str(tmp_path / "remote")
    one, two = make(store, "one", {"a": b"1"}), make(store, "two", {"a": b"2"})
    push(store, url, [one, two])
    change(url, record_name(one.key), FORGERIES[reason](one, two))
    [(kind, named, why, _)] = refusals(pull(other, url))
    assert ("record", one.key, True) == (kind, named, why.startswith(reason)), why
    assert [two.key] == [record.key for record in Actions(other).all()]


# ---------------------------------------------------------------- signatures


def test_a_consistent_lie_is_refused_where_a_key_is_shared(store, other, near, monkeypatch):
    monkeypatch.setenv("FORGE_REMOTE_KEY", SECRET)
    one, two = make(store, "one", {"a": b"right"}), make(store, "two", {"a": b"wrong"})
    push(store, near, [one, two])
    assert SECRET.encode() not in bytes_at(near, record_name(one.key))
    change(near, record_name(one.key), forged(one, tree=two.tree))
    assert [("record", one.key, "is not signed, and `FORGE_REMOTE_KEY` is set", [])] == refusals(pull(other, near))
    assert [two.key] == [record.key for record in Actions(other).all()]
    # without a key nothing can be seen: the docs say so
    monkeypatch.delenv("FORGE_REMOTE_KEY")
    assert [] == pull(other, near).refused
    assert two.tree == Actions(other).find(one.key).tree


def test_a_signature_of_another_key_or_another_record_is_refused(store, other, near, monkeypatch):
    one, two = make(store, "one", {"a": b"right"}), make(store, "two", {"a": b"wrong"})
    monkeypatch.setenv("FORGE_REMOTE_KEY", SECRET)
    push(store, near, [one, two])
    stolen = json.loads(bytes_at(near, record_name(two.key)))["signature"]
    lie = json.loads(forged(one, tree=two.tree)) | {"signature": stolen}
    change(near, record_name(one.key), json.dumps(lie).encode())
    monkeypatch.setenv("FORGE_REMOTE_KEY", SECRET[::-1])
    why = "is signed with another key than `FORGE_REMOTE_KEY`"
    assert sorted([("record", r.key, why, []) for r in (one, two)]) == sorted(refusals(pull(other, near)))
    monkeypatch.setenv("FORGE_REMOTE_KEY", SECRET)
    assert [("record", one.key, why, [])] == refusals(pull(other, near))


def test_a_push_with_a_key_signs_what_was_not(store, other, near, monkeypatch):
    one, two = make(store, "one", {"a": b"right"}), make(store, "two", {"a": b"wrong"})
    push(store, near, [one])
    monkeypatch.setenv("FORGE_REMOTE_KEY", SECRET)
    assert [(1, 1), (1, 1), (2, 0)] == counts(push(store, near, [one, two]))
    assert [(0, 2), (0, 2), (0, 2)] == counts(push(store, near, [one, two]))
    assert [] == pull(other, near).refused


def test_a_key_that_is_easily_guessed_is_refused(monkeypatch):
    monkeypatch.setenv("FORGE_REMOTE_KEY", "hunter2")
    with pytest.raises(UsageError, match="has 7 characters, at least 16") as caught:
        Remote.open("somewhere")
    assert "hunter2" not in str(caught.value)


def test_the_key_is_not_shown(monkeypatch):
    monkeypatch.setenv("FORGE_REMOTE_KEY", SECRET)
    assert SECRET not in repr(Remote.open("somewhere"))


# ---------------------------------------------------------------- places that refuse


@pytest.mark.parametrize(
    "url",
    [
        "s3://id:secret@bucket/path",
        "sftp://me:secret@host/path",
        "https://host/path?token=secret",
        "filecache::s3://id:secret@bucket/path",
    ],
)
def test_a_url_that_holds_a_secret_is_refused_without_repeating_it(url):
    with pytest.raises(UsageError) as caught:
        open_place(url)
    assert "secret" not in caught.value.message + (caught.value.hint or "").replace("AWS_SECRET", "")


def test_a_protocol_that_nobody_knows_is_named():
    with pytest.raises(UsageError, match="`ftpx://` is no protocol"):
        open_place("ftpx://host/path")


def test_a_missing_package_says_what_to_install(monkeypatch):
    def refuse(_):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.get_filesystem_class", refuse)
    with pytest.raises(StoreError, match="needs a package that is not installed") as caught:
        open_place("s3://bucket/path")
    assert "pip install 'forge[remote]'" in caught.value.hint


def test_a_folder_whose_parent_is_not_there_is_named(store, tmp_path):
    with pytest.raises(StoreError, match="can't write the remote") as caught:
        push(store, str(tmp_path / "not-mounted" / "remote"), [make(store, "one", {"a": b"1"})])
    assert "is the bucket or folder there?" == caught.value.hint


def test_a_bucket_that_is_not_there_is_named(store, other, bucket):
    record = make(store, "one", {"a": b"1"})
    with pytest.raises(StoreError, match="can't write the remote `s3://no-such-bucket/x`"):
        push(store, "s3://no-such-bucket/x", [record])
    with pytest.raises(StoreError, match="there is nothing to pull at `s3://no-such-bucket/x`"):
        pull(other, "s3://no-such-bucket/x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(store, tmp_path):
    (tmp_path / "remote").mkdir(mode=0o555)
    with pytest.raises(StoreError, match="no permission to write the remote"):
        push(store, str(tmp_path / "remote"), [make(store, "one", {"a": b"1"})])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied"), "no permission to write the remote"),
        (OSError(30, "Read-only file system"), "no permission to write the remote"),
        (OSError(28, "No space left on device"), "is full"),
        (RuntimeError("odd"), "can't write the remote .*: RuntimeError: odd"),
    ],
)
def test_what_a_place_refuses_is_named(store, tmp_path, monkeypatch, error, said):
    def refuse(*_):
        raise error

    record = make(store, "one", {"a": b"1"})
    monkeypatch.setattr("forge.store.places.shutil.copyfile", refuse)
    with pytest.raises(StoreError, match=said) as caught:
        push(store, str(tmp_path / "remote"), [record])
    assert (True, 4) == (str(tmp_path / "remote") in caught.value.message, caught.value.exit_code)
    assert [] == [p.name for p in (tmp_path / "remote").rglob(".*")]


def test_the_store_itself_is_no_remote_of_its_own(store):
    for act in (push, pull):
        with pytest.raises(UsageError, match="is the store itself"):
            act(store, str(store.root), [])


def test_a_remote_of_another_format_is_refused(store, other, near):
    change(near, "format", b"9")
    for act in (push, pull):
        with pytest.raises(StoreError, match="has format `9`, this forge reads `1`"):
            act(store, near, [])


def test_an_object_that_is_damaged_here_is_not_sent(store, tmp_path):
    record = make(store, "one", {"a": b"abc"})
    path = store.object_path(digest_bytes(b"abc"))
    path.chmod(0o644)
    path.write_bytes(b"abd")
    with pytest.raises(StoreError, match="is damaged or missing in the store"):
        push(store, str(tmp_path / "remote"), [record])
    assert [] == open_place(str(tmp_path / "remote")).names("objects")


def test_a_collection_beside_a_pull_takes_nothing_that_came(store, other, tmp_path, monkeypatch):
    record = make(store, "one", {"a": b"abc"})
    push(store, str(tmp_path / "remote"), [record])
    seen = []
    real = Store.add_file

    def look(self, *arguments, **options):
        seen.append(len(list((self.root / "builds/running").iterdir())))
        return real(self, *arguments, **options)

    monkeypatch.setattr(Store, "add_file", look)
    pull(other, str(tmp_path / "remote"))
    assert [1] == seen
    assert Member(digest_bytes(b"abc"), 3) in other.tree(record.tree).members.values()
