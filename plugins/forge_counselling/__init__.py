"""Step types for counselling data: three raw sets to a student set with labels as instructions."""

from __future__ import annotations

import forge

__all__ = ["forge_register"]


@forge.hookimpl
def forge_register(register: forge.Register) -> None:
    """Register the step types."""
    from forge_counselling.dialogues import CPsyCounD, CPsyCounE
    from forge_counselling.instructions import Instructions
    from forge_counselling.psyqa import PsyQA
    from forge_counselling.questions import Questions
    from forge_counselling.student import Student, Trim
    from forge_counselling.unify import Unify

    register.source("psyqa", PsyQA, version="1", each_file=True)
    register.source("cpsycound", CPsyCounD, version="1")
    register.source("cpsycoune", CPsyCounE, version="1")
    register.transform("questions", Questions, version="1")
    register.transform("unify", Unify, version="1", in_parts=True)
    register.transform("student", Student, version="1", in_parts=True)
    register.transform("trim", Trim, version="1", in_parts=True)
    register.transform("instructions", Instructions, version="1")
