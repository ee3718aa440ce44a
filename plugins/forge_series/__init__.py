"""Step types for time series: files and records joined, reduced, and written as ChatTS or as text."""

from __future__ import annotations

import forge

__all__ = ["forge_register"]


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the step types."""
    from forge_series.csv_files import CsvSeries
    from forge_series.downsample import Downsample
    from forge_series.join import Join
    from forge_series.records import Records
    from forge_series.resample import Resample
    from forge_series.samples import ChatTS, Text
    from forge_series.window import Window

    needed = {"requires": ("numpy",), "extra": "series"}
    reducing = {"requires": ("numpy", "tsdownsample"), "extra": "series", "facts": ("tsdownsample",)}
    register.source("records", Records, version="1")
    register.source("csv", CsvSeries, version="1", **reducing)
    register.transform("resample", Resample, version="1", inputs=("series",), rowwise=True)
    register.transform("downsample", Downsample, version="1", inputs=("series",), **reducing)
    register.transform("window", Window, version="1", inputs=("series",), **needed)
    register.transform("join", Join, version="1", inputs=("records", "series"), **needed)
    register.transform("chatts", ChatTS, version="1", inputs=("joined",), **needed)
    register.transform("text", Text, version="1", inputs=("joined",), **needed)
