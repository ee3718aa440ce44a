"""Write the page: one template, its style, and nothing that is not escaped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from forge.report import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from forge.report.content import Report

GENERATOR = '<meta name="generator" content="forge report">'
"""What tells a page of ours from a file of somebody else's."""
_TEMPLATES = Path(__file__).with_name("templates")


def render(report: Report, *, size: Callable[[int], str], seconds: Callable[[float], str]) -> str:
    """Return the page of *report*, the same for the same report; *size* and *seconds* write bytes and times."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": words.figure,
        "share": words.share,
        "size": size,
        "seconds": seconds,
        "short": words.short,
        "moment": words.moment,
    }
    # the one text that is not escaped is our own
    style = Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8"))  # noqa: S704
    return environment.get_template("report.html.jinja").render(report=report, style=style)
