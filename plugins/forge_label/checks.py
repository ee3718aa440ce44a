"""The check of labels, which stands among the other checks."""

from __future__ import annotations

import forge

__all__ = ["forge_register"]


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the check."""
    from forge_label.check import BASELINE, Labels

    register.check(
        "labels",
        Labels,
        version="1",
        inputs=("data", "gold?", "other?"),
        requires=("krippendorff", "matplotlib", "sklearn"),
        extra="label",
        previous=BASELINE,
        facts=("krippendorff", "matplotlib", "scikit-learn"),
    )
