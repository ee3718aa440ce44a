"""The script that `sbatch` is given."""

from __future__ import annotations

import math
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from forge.core.step import bytes_of, seconds_of
from forge.run.slurm.client import PREFIX
from forge.run.spawn import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forge.core.step import Resources
    from forge.plan.profile import Profile
    from forge.run.slurm.folder import JobFolder, Submission

_MEBIBYTE = 1 << 20


def script(  # what it asks for, where it lies, and what it is known by
    profile: Profile, resources: Resources, folder: JobFolder, submission: Submission, root: str, comment: str
) -> str:
    """Return the script of one submission; *root* is the project's folder."""
    notice = notice_of(profile, resources)
    options = [
        f"--job-name={PREFIX}{folder.key}",
        f"--comment={comment}",
        f"--chdir={root}",
        f"--output={str(folder.path).replace('%', '%%')}/slurm{'-%a' if submission.shards else ''}.log",
        "--open-mode=append",
        "--requeue",
        "--kill-on-invalid-dep=yes",
        f"--signal=B:USR1@{notice}",
        *asked_for(resources),
    ]
    if submission.shards:
        options.append(f"--array={_ranges(submission.shards)}%{profile.at_once}")
    words = {
        "options": "\n".join(f"#SBATCH {_quoted(option)}" for option in options),
        "folder": shlex.quote(str(folder.path)),
        "key": folder.key,
        "ticket": submission.ticket,
        "setup": "\n".join([*profile.setup, *exports(profile.environment)]),
        "python": shlex.quote(profile.python or sys.executable),
        "notice": str(notice),
    }
    text = (Path(__file__).parent / "job.sh").read_text(encoding="utf-8")
    for name, value in words.items():
        text = text.replace(f"@{name}@", value)
    return text


def notice_of(profile: Profile, resources: Resources) -> int:
    """Return how many seconds before its limit a job is told: of a short one, no more than a quarter of its time."""
    wanted = seconds_of(profile.notice)
    return min(wanted, max(1, seconds_of(resources.time) // 4)) if resources.time else wanted


def asked_for(resources: Resources) -> list[str]:
    """Return the options of `sbatch` that ask for *resources*."""
    minutes = math.ceil(seconds_of(resources.time) / 60) if resources.time else None
    named = {
        "partition": resources.partition,
        "gres": f"gpu:{resources.gpus}" if resources.gpus else None,
        "cpus-per-task": resources.cpus,
        "mem": f"{math.ceil(bytes_of(resources.memory) / _MEBIBYTE)}M" if resources.memory else None,
        "time": minutes,
        "account": resources.account,
        "qos": resources.qos,
        "constraint": resources.constraint,
    }
    return [*(f"--{name}={value}" for name, value in named.items() if value is not None), *resources.extra]


def exports(environment: Mapping[str, str]) -> list[str]:
    """Return lines of bash that give a job the variables of every worker, and the profile's own over them.

    A value may name other variables, as in `$HOME/hf`.
    """
    lines = [f"export {name}={shlex.quote(value)}" for name, value in ENVIRONMENT.items()]
    return lines + [f'export {name}="{_escaped(value)}"' for name, value in environment.items()]


def _quoted(option: str) -> str:
    """Return an option as `sbatch` reads it in a script."""
    return option if re.fullmatch(r"[\w@%+=:,./-]*", option) else f'"{_escaped(option)}"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`")


def _ranges(numbers: tuple[int, ...]) -> str:
    """Return numbers as Slurm writes them: ``0-4,7``."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
