"""The manifests of data build: on the small samples of the project, and on the real slices where they are."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from forge.testing import ForgeProject

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared/data"
EXAMPLES = {
    "CPsyCounD": 55,
    "CPsyCounD_json": 2,
    "CPsyCounE": 18,
    "ESConv": 2,
    "EmoLLM": 3,
    "PsyQA": 90,
    "SMILE": 3,
    "counsel-chat": 3,
    "medical-dialogue": 3,
}
REAL = {
    "CPsyCounD": 2471,
    "CPsyCounD_json": 20,
    "CPsyCounE": 36,
    "ESConv": 40,
    "EmoLLM": 400,
    "PsyQA": 894,
    "SMILE": 300,
    "counsel-chat": 214,
    "medical-dialogue": 484,
}


@pytest.fixture
def build(tmp_path):
    """Build steps of a manifest of ours, from where it stands, into a store of the test's own."""

    def build(manifest, *arguments):
        project = ForgeProject(ROOT, {"FORGE_STORE": str(tmp_path / "store")})
        result = project.build(*arguments, manifest=f"manifests/{manifest}")
        assert 0 == result.exit_code, result.stderr

        def show(step):
            # what `--set` changed is in the key of the step, so it is shown with the same
            sets = [part for pair in pairwise(arguments) if pair[0] == "--set" for part in pair]
            return json.loads(project.forge("show", f"manifests/{manifest}", step, "--json", *sets).stdout)

        return result, show

    return build


def test_every_counselling_set_is_unified_from_the_samples(build):
    result, show = build("student_all.toml", "unified_min")
    stats = show("unified")["stats"]
    assert (EXAMPLES, sum(EXAMPLES.values())) == (stats["by_source"], stats["total"])
    assert EXAMPLES.keys() == show("unified_min")["stats"]["by_source"].keys() == stats["avg_turns"].keys()
    assert {"answer joined to its question": 1} == result.steps["counsel_chat_questions"].drops
    assert {"told whole by another row": 3} == result.steps["cpsycound_json_dialogues"].drops
    assert {"turns", "characters", "turn_characters", "topics"} <= stats.keys()


def test_the_student_manifest_alone_has_its_three_sources(build):
    _, show = build("student.toml", "unified")
    assert {k: EXAMPLES[k] for k in ("CPsyCounD", "CPsyCounE", "PsyQA")} == show("unified")["stats"]["by_source"]


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")
def test_every_counselling_set_is_unified_from_the_real_slices(build):
    _, show = build("student_all.toml", "unified_min", "--set", "data=../shared/data/counselling")
    assert REAL == show("unified")["stats"]["by_source"]
    assert REAL.keys() == show("unified_min")["stats"]["by_source"].keys()


def test_texts_in_four_forms_become_samples(build):
    result, _ = build("text.toml", "parts")
    assert (12, {}) == (result.steps["dialogues"].rows_out, result.steps["dialogues"].drops)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")
def test_one_set_in_four_forms_is_found_to_be_one(build):
    result, _ = build("text.toml", "parts", "--set", "data=../shared/data/generic/text")
    assert (1124, 281) == (result.steps["dialogues"].rows_in, result.steps["dialogues"].rows_out)
    assert 281 == result.steps["parts"].rows_out


def test_the_text_manifest_trains_and_ships_by_the_steps_of_the_student_manifest():
    from forge.plan.load import load

    text = load(ROOT / "manifests/text.toml")
    uses = {step.name: step.use for step in text.steps}
    assert ["train.tokens", "train.lora", "export.merged", "export.gguf"] == [
        uses[name] for name in ("tokens", "lora", "merged", "gguf")
    ]


GUIDES = [ROOT / "docs/guides" / name for name in ("roleplay.md", "sources.md", "student.md", "text.md")]


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=f"{guide.stem}-{number}")
        for guide in GUIDES
        for number, block in enumerate(
            re.findall(r"^```toml\n(.*?)^```", guide.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        )
    ],
)
def test_the_manifests_of_the_guides_resolve(block):
    from forge.plan.load import load
    from forge.plan.resolve import resolve

    path = ROOT / "guide-manifest.toml"
    try:
        path.write_text(block, encoding="utf-8")
        assert resolve(load(path)).steps
    finally:
        path.unlink()
