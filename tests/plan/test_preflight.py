"""What is found without rows: packages, the disk, and what counts for another machine."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from forge.plan import preflight
from forge.plan.load import load
from forge.plan.preflight import Look, disk_space, joined, size_of, unfit_packages
from forge.plan.resolve import resolve
from forge.plugin.protocols import Notice
from forge.run.preflight import _of_elsewhere

ROOT = Path(__file__).parents[2]


def test_a_package_of_a_version_that_does_not_fit_is_found_with_the_bound_and_what_to_do(monkeypatch):
    pytest.importorskip("packaging")
    graph = resolve(load(str(ROOT / "manifests/labelled.toml"), ()), targets=["labels"])
    steps = list(graph.steps.values())
    assert [] == list(unfit_packages(graph, steps))
    monkeypatch.setattr(preflight, "version", lambda name: "0.1" if name == "aiohttp" else "999")
    [look] = unfit_packages(graph, steps)
    [notice] = look.notices
    assert ("labels", "bad", "`label.openai` needs `aiohttp>=3.12`, installed is `0.1`") == (
        look.step,
        notice.state,
        notice.message,
    )
    assert "pip install 'forge[label]'" == notice.hint


def test_room_on_the_disk_is_compared_with_what_steps_will_add(monkeypatch, tmp_path):
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000_000))
    looks = [Look("small", (Notice("a", disk=1_000_000),)), Look("large", (Notice("a", disk=7_000_000),))]
    assert "good" == disk_space(looks, [], tmp_path).state
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: SimpleNamespace(free=8_000_000))
    [notice] = disk_space(looks, [], tmp_path).notices
    assert ("bad", "≈ 8 MB will be added, 8 MB are free: `large` 7 MB, `small` 1 MB") == (notice.state, notice.message)


def test_looks_at_one_step_become_one_whose_state_is_the_gravest():
    looks = joined(
        [Look("a", (Notice("x"),)), Look("b", (Notice("x"),)), Look("a", (Notice("y", "bad"), Notice("z", "unseen")))]
    )
    assert [("a", "bad"), ("b", "good")] == [(look.step, look.state) for look in looks]
    assert looks == [Look.from_json(look.to_json()) for look in looks]


def test_what_is_true_of_this_machine_alone_says_nothing_of_another():
    look = Look("train", (Notice("device", "bad", "no GPU", "buy one", here=True), Notice("masks", "bad", "nothing")))
    assert ["unseen", "bad"] == [notice.state for notice in _of_elsewhere(look).notices]


@pytest.mark.parametrize(("count", "said"), [(235, "235 B"), (99e6, "99 MB"), (1.26e9, "1.3 GB"), (2e12, "2.0 TB")])
def test_sizes_are_written_as_people_write_them(count, said):
    assert said == size_of(count)
