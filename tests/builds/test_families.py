"""The manifests of all four families build up to their tables: from the samples, from the real slices, twice alike."""

from pathlib import Path

import pytest

from forge.testing import ForgeProject

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared/data"

TARGETS = {
    "student_all.toml": ("split",),
    "chatts.toml": ("llamafactory",),
    "chatts_text.toml": ("split",),
    "text.toml": ("parts",),
    "roleplay.toml": ("split", "weighted"),
    "roleplay_play.toml": ("parts",),
}
SERIES = {"data": "../shared/data/timeseries/chatts", "records": "gdsh.json"}
SLICES = {
    "student_all.toml": {"data": "../shared/data/counselling"},
    "chatts.toml": SERIES,
    "chatts_text.toml": SERIES,
    "text.toml": {"data": "../shared/data/generic/text"},
    "roleplay.toml": {
        "data": "../shared/data/roleplay/novel_characters",
        "character": "孙悟空",
        "settings": "settings_wukong.json",
        "dialogues": "../shared/data/roleplay/EmoLLM/tiangou.json",
    },
    "roleplay_play.toml": {"play": "../shared/data/roleplay/tinyshakespeare/input.txt", "character": "MENENIUS"},
}
ROWS = {
    "student_all.toml": {"split": (1500, 4500)},
    "chatts.toml": {"samples": (20, 84)},
    "chatts_text.toml": {"split": (20, 84)},
    "text.toml": {"parts": (281, 281)},
    "roleplay.toml": {"line_samples": (600, 620), "windows": (200, 400), "setting_samples": (26, 26)},
    "roleplay_play.toml": {"parts": (60, 100)},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Give the repository itself with a store of this module's own."""
    return ForgeProject(ROOT, {"FORGE_STORE": str(tmp_path_factory.mktemp("families"))})


@pytest.fixture(scope="module")
def build_twice(project):
    """Build a manifest of ours twice into one store; return the first result, once the second made nothing anew."""

    def build(manifest, sets):
        pairs = [word for name, value in sets.items() for word in ("--set", f"{name}={value}")]
        first, second = (project.build(*TARGETS[manifest], *pairs, manifest=f"manifests/{manifest}") for _ in range(2))
        assert (0, 0) == (first.exit_code, second.exit_code), first.stderr + second.stderr
        assert {"hit"} == set(second.statuses.values())
        assert {name: step.tree for name, step in first.steps.items()} == {
            name: step.tree for name, step in second.steps.items()
        }
        return first

    return build


@pytest.mark.parametrize("manifest", TARGETS)
def test_the_samples_build_twice_alike(build_twice, manifest):
    built = build_twice(manifest, {})
    assert {*TARGETS[manifest]} <= {*built.steps}
    assert not {"base", "tokens", "lora"} & {*built.steps}


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")
@pytest.mark.parametrize("manifest", TARGETS)
def test_the_real_slices_build_twice_alike(build_twice, manifest):
    built = build_twice(manifest, SLICES[manifest])
    assert ROWS[manifest].keys() <= built.steps.keys()
    found = {name: built.steps[name].rows_out for name in ROWS[manifest]}
    assert found == {n: count for n, count in found.items() if ROWS[manifest][n][0] <= count <= ROWS[manifest][n][1]}


def test_every_manifest_is_of_a_family_or_built_elsewhere():
    elsewhere = {"labelled.toml", "quickstart.toml", "ship.toml", "student.toml"}
    assert {path.name for path in (ROOT / "manifests").glob("*.toml")} == {*TARGETS, *elsewhere}


def test_every_row_of_the_character_is_accounted_for(tmp_path):
    project = ForgeProject(ROOT, {"FORGE_STORE": str(tmp_path / "store")})
    steps = project.build(*TARGETS["roleplay.toml"], manifest="manifests/roleplay.toml").steps
    assert {
        "extraction": (None, 42, {}),
        "lines": (42, 40, {"no words": 1, "somebody else's words": 1}),
        "line_samples": (40, 23, {"another speaker": 17}),
        "settings_lines": (13, 12, {"no words": 1}),
        "setting_samples": (12, 12, {}),
        "windows": (40, 10, {"told in a window": 29, "the character doesn't answer": 1}),
        "persona_samples": (6, 6, {}),
        "samples": (39, 39, {}),
    } == {
        name: (step.rows_in, step.rows_out, step.drops)
        for name, step in steps.items()
        if name in ("extraction", "lines", "line_samples", "settings_lines", "setting_samples", "windows")
        or name in ("persona_samples", "samples")
    }


def test_no_chapter_is_in_two_parts_and_settings_are_learned(project, tmp_path):
    import polars as pl

    assert 0 == project.build(*TARGETS["roleplay.toml"], manifest="manifests/roleplay.toml").exit_code
    tables = {}
    for step in ("split", "weighted"):
        assert 0 == project.forge("get", "manifests/roleplay.toml", step, str(tmp_path / step)).exit_code
    for part in ("train", "eval", "test"):
        tables[part] = pl.read_ipc(tmp_path / "split" / part / "rows.arrow")
    passages = [set(table["passage"]) for table in tables.values()]
    assert sum(map(len, passages)) == len(set.union(*passages))
    shared = tables["train"].filter(pl.col("kind").is_in(["dialogue", "window"])).group_by("passage")
    assert 2 == shared.agg(pl.col("kind").n_unique())["kind"].max()
    weighted = pl.read_ipc(tmp_path / "weighted" / "rows.arrow")
    weights = weighted.select("kind", "weight").unique().sort("kind", "weight").rows()
    assert {("background", 5.0), ("settings", 5.0), ("dialogue", 1.0), ("window", 1.0)} <= {*weights}
    assert len(weights) == weighted["kind"].n_unique()
