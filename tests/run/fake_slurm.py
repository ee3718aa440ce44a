"""Slurm's commands without daemons: called by their names, they keep jobs as files in `$FAKE_SLURM` and run them here.

Lines of the file `faults` there are `COMMAND TIMES MESSAGE`: so many calls fail with the message, and are counted down.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

PLACE = Path(os.environ["FAKE_SLURM"])
NAME = Path(sys.argv[0]).name
ARGUMENTS = sys.argv[1:]


def fault():
    path = PLACE / "faults"
    lines = path.read_text().splitlines() if path.exists() else []
    for number, line in enumerate(lines):
        command, times, message = line.split(" ", 2)
        if command == NAME and int(times) > 0:
            lines[number] = f"{command} {int(times) - 1} {message}"
            path.write_text("\n".join(lines))
            sys.stderr.write(f"{NAME}: error: {message}\n")
            sys.exit(1)


def options(script):
    found = {}
    for line in script.splitlines():
        if line.startswith("#SBATCH --"):
            name, _, value = line.removeprefix("#SBATCH --").partition("=")
            found[name] = value.strip('"')
    return found


def indices(text):
    for span in text.partition("%")[0].split(","):
        first, _, last = span.partition("-")
        yield from range(int(first), int(last or first) + 1)


def save(job):
    path = PLACE / f"job-{job['id']}.json"
    path.with_suffix(".tmp").write_text(json.dumps(job))
    path.with_suffix(".tmp").rename(path)


def jobs():
    return [json.loads(path.read_text()) for path in sorted(PLACE.glob("job-*.json"), key=lambda p: int(p.stem[4:]))]


def sbatch():
    script = Path(ARGUMENTS[-1])
    asked = options(script.read_text())
    number = len(list(PLACE.glob("job-*.json"))) + 1
    tasks = list(indices(asked["array"])) if "array" in asked else [None]
    for offset, index in enumerate(tasks):
        job = {"id": number + offset, "array": number, "index": index, "state": "PENDING"}
        job |= {
            "name": os.environ.get("SBATCH_JOB_NAME", asked["job-name"]),
            "comment": asked["comment"],
            "restarts": 0,
            "options": asked,
        }
        copy = PLACE / f"script-{job['id']}"
        copy.write_text(script.read_text())
        save(job)
        if not (PLACE / "hold").exists():
            subprocess.Popen(
                [sys.executable, str(PLACE / "fake_slurm.py"), "run", str(job["id"])],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
    sys.stdout.write(f"{number}\n")


def run(number):
    path = PLACE / f"job-{number}.json"
    while True:
        job = json.loads(path.read_text())
        save(job | {"state": "RUNNING"})
        index = (
            {}
            if job["index"] is None
            else {
                "SLURM_ARRAY_TASK_ID": str(job["index"]),
                "SLURM_ARRAY_JOB_ID": str(job["array"]),
            }
        )
        again = {"SLURM_RESTART_COUNT": str(job["restarts"])} if job["restarts"] else {}
        about = {"SLURM_JOB_ID": str(number), "SLURMD_NODENAME": "fake", "SLURM_JOB_PARTITION": "fake"}
        log = job["options"]["output"].replace("%a", str(job["index"]))
        with open(log, "ab") as out:
            code = subprocess.run(
                ["bash", str(PLACE / f"script-{number}")],
                env=os.environ | about | index | again,
                cwd=job["options"]["chdir"],
                stdout=out,
                stderr=out,
                check=False,
            ).returncode
        job = json.loads(path.read_text())
        if job.pop("again", False):
            job["restarts"] += 1
            save(job)
            continue
        if job["state"] == "RUNNING":
            save(job | {"state": "COMPLETED" if code == 0 else "FAILED"})
        return


def squeue():
    with (PLACE / "asked").open("a") as file:
        file.write("squeue\n")
    for job in jobs():
        index = "N/A" if job["index"] is None else job["index"]
        row = [
            job["id"],
            job["array"],
            index,
            job["name"],
            job["comment"],
            job["state"],
            "fake",
            "0:01",
            "fake",
            "None",
        ]
        sys.stdout.write("|".join(str(cell) for cell in row) + "\n")


def scancel():
    for job in jobs():
        if str(job["array"]) in ARGUMENTS or str(job["id"]) in ARGUMENTS:
            save(job | {"state": "CANCELLED"})


def scontrol():
    if ARGUMENTS[0] == "requeue":
        [job] = [job for job in jobs() if str(job["id"]) == ARGUMENTS[1]]
        save(job | {"again": True})


def sinfo():
    sys.stdout.write("cpu*|1-00:00:00|(null)|4|8000|up\nA40|2-00:00:00|gpu:1|16|64000|up\n")


def sacct():
    path = PLACE / "accounting"
    if not path.exists():
        sys.stderr.write("Slurm accounting storage is disabled\n")
        sys.exit(1)
    for job in jobs():
        lines = [
            f"{job['id']}|COMPLETED|7||None|fake|{job['name']}",
            f"{job['id']}.batch|COMPLETED|7|2048K||fake|batch",
        ]
        sys.stdout.write("\n".join(lines) + "\n")


if NAME == "fake_slurm.py":
    time.sleep(0.05)
    run(ARGUMENTS[1])
else:
    fault()
    globals()[NAME]()
