"""The manifest of the time-series guide builds with the example's data."""

import json
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/chatts.md").read_text(encoding="utf-8")


def test_the_guides_manifest_builds(forge_project):
    blocks = re.findall(r"^```toml\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)
    forge_project.manifest("\n".join(blocks), "plant.toml")
    shutil.copytree(ROOT / "examples/timeseries", forge_project.root / "data")
    result = forge_project.build(manifest="plant.toml")
    assert 0 == result.exit_code, result.stderr
    assert (7, 7) == (result.steps["regular"].rows_out, result.steps["samples"].rows_out)
    folder = forge_project.root / "llamafactory" / "plant"
    assert ["data/plant.jsonl", "dataset_info.json", "train.yaml"] == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    lines = (folder / "data/plant.jsonl").read_text(encoding="utf-8").splitlines()
    assert [{"input", "output", "timeseries"}] * 7 == [set(json.loads(line)) for line in lines]
