"""What the guides show runs."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tests_of_the_plugin_guide_pass(tmp_path):
    guide = (ROOT / "docs/guides/plugins.md").read_text(encoding="utf-8")
    [code] = [
        b for b in re.findall(r"^```python\n(.*?)^```", guide, flags=re.DOTALL | re.MULTILINE) if "check_plugin" in b
    ]
    (tmp_path / "test_guide.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_guide.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
