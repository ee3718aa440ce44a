"""What is kept out of logs is one message of bitsandbytes, and no other."""

from __future__ import annotations

import logging
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from forge_llm.hush import LOGGER, SAID, hush_bitsandbytes


@pytest.fixture
def logger():
    found = logging.getLogger(LOGGER)
    before = found.filters[:]
    yield found
    found.filters[:] = before


def test_one_message_is_taken_away_and_no_other(logger, caplog):
    hush_bitsandbytes()
    hush_bitsandbytes()
    assert 1 == len([each for each in logger.filters if type(each).__module__ == "forge_llm.hush"])
    logger.warning(SAID + " from somewhere: %s. Please install", "no such module")  # noqa: G003
    logger.warning("something else went wrong: %s", "this")
    assert ["something else went wrong: this"] == [record.getMessage() for record in caplog.records]


def test_it_is_the_message_that_bitsandbytes_has():
    spec = find_spec("bitsandbytes")
    if spec is None or spec.origin is None:
        pytest.skip("the package `bitsandbytes` is not installed")
    source = Path(spec.origin).parent.joinpath(*LOGGER.split(".")[1:]).with_suffix(".py").read_text()
    assert f'"{SAID} ' in source
    assert "getLogger(__name__)" in source
    said = "from forge_llm.hush import hush_bitsandbytes; hush_bitsandbytes(); import bitsandbytes"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert SAID not in done.stderr
