"""Files that hold rows, and archives that hold files: an entry point of its own, so that the others load at once."""

from __future__ import annotations

import forge
from forge_files.csv_source import FilesCsv
from forge_files.json_source import FilesJson, FilesJsonl
from forge_files.parquet_source import FilesParquet
from forge_files.text_source import FilesText
from forge_files.unpack import Unpack


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the sources of rows, and `files.unpack`."""
    register.source("json", FilesJson, version="1", each_file=True)
    register.source("jsonl", FilesJsonl, version="1", each_file=True)
    register.source("csv", FilesCsv, version="1")
    register.source("text", FilesText, version="1")
    register.source("parquet", FilesParquet, version="1")
    register.transform("unpack", Unpack, version="1")
