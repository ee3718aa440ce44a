"""Slurm's commands and what their answers mean."""

import pytest

from forge.run.slurm.accounting import parsed
from forge.run.slurm.client import Declined, Listed, Slurm, Unclear, Unreachable


@pytest.fixture
def slurm(tmp_path):
    """Return a Slurm whose commands are shell scripts, and a way to write them."""

    def command(name, text):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    made = Slurm("00c0ffee", {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"})
    return made, command


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Batch job submission failed: Unable to contact slurm controller (connect failure)", Unreachable),
        ("Batch job submission failed: Socket timed out on send/recv operation", Unreachable),
        ("Slurm temporarily unable to accept job, sleeping and retrying", Unreachable),
        ("Batch job submission failed: Resource temporarily unavailable", Unreachable),
        ("Batch job submission failed: Invalid partition name specified", Declined),
        ("Batch job submission failed: Requested node configuration is not available", Declined),
        ("Batch job submission failed: Job violates accounting/QOS policy", Declined),
        ("Batch job submission failed: Unspecified error", Unclear),
    ],
)
def test_a_failure_is_told_apart_by_whether_it_is_for_good(slurm, said, kind):
    made, command = slurm
    command("sbatch", f'echo "sbatch: error: {said}" >&2; exit 1')
    with pytest.raises(kind) as raised:
        made.submit("script.sh")
    assert f"`sbatch`: {said}" == raised.value.message


def test_a_command_that_is_not_there_is_told_with_what_to_do(tmp_path):
    made = Slurm("00c0ffee", {"PATH": str(tmp_path)})
    with pytest.raises(Declined, match="there is no `squeue` on this machine") as raised:
        made.jobs()
    assert "--executor local" in raised.value.hint


def test_the_id_of_a_submitted_job_is_read_with_and_without_a_cluster(slurm):
    made, command = slurm
    command("sbatch", "echo 17")
    assert "17" == made.submit("script.sh")
    command("sbatch", "echo '17;far'")
    assert "17" == made.submit("script.sh")


def test_jobs_of_other_programs_and_other_stores_are_not_ours(slurm):
    made, command = slurm
    lines = [
        "3|3|N/A|forge-abc|aaaaaaaa-00c0ffee|RUNNING|n1|0:05|cpu|None",
        "9|9|N/A|forge-abc|bbbbbbbb-0badcafe|RUNNING|n1|0:05|cpu|None",
        "4|4|N/A|other|(null)|RUNNING|n1|0:05|cpu|None",
        "12|12|3-9%4|forge-def|cccccccc-00c0ffee|PENDING||0:00|cpu|Nodes required | are DOWN",
    ]
    command("squeue", "\n".join(f"echo '{line}'" for line in lines))
    assert [
        Listed("3", "3", "N/A", "forge-abc", "aaaaaaaa", "RUNNING", "n1", "0:05", "cpu", "None"),
        Listed("12", "12", "3-9%4", "forge-def", "cccccccc", "PENDING", "", "0:00", "cpu", "Nodes required | are DOWN"),
    ] == made.jobs()
    assert ["abc", "def"] == [job.key for job in made.jobs()]
    assert ["3", "12_3-9%4"] == [job.shown for job in made.jobs()]


def test_all_jobs_are_asked_for_in_one_call(slurm, tmp_path):
    made, command = slurm
    command("squeue", f'echo "$*" >> {tmp_path}/asked')
    made.jobs()
    [asked] = (tmp_path / "asked").read_text().splitlines()
    assert "--states=all" in asked
    assert "--me" in asked


def test_cancelling_goes_by_name_and_ticket_and_ends_no_other_store_s_job(slurm, tmp_path):
    made, command = slurm
    lines = [
        "3|3|N/A|forge-abc|aaaaaaaa-00c0ffee|RUNNING|n1|0:05|cpu|None",
        "4|4|N/A|forge-abc|bbbbbbbb-0badcafe|RUNNING|n1|0:05|cpu|None",
        "5|5|N/A|forge-abc|cccccccc-00c0ffee|COMPLETED|n1|0:05|cpu|None",
        "6|6|N/A|forge-def|dddddddd-00c0ffee|RUNNING|n1|0:05|cpu|None",
    ]
    command("squeue", "\n".join(f"echo '{line}'" for line in lines))
    command("scancel", f'echo "$*" >> {tmp_path}/ended')
    made.cancel(["abc"])
    assert "3\n" == (tmp_path / "ended").read_text()


def test_accounting_adds_the_tasks_of_an_array_and_takes_the_most_memory():
    said = (
        "7_0|COMPLETED|10||None|n1|forge-a\n7_0.batch|COMPLETED|10|1024K||n1|batch\n"
        "7_1|FAILED|5||NonZeroExitCode|n2|forge-a\n7_1.batch|FAILED|5|4M||n2|batch\n"
        "8|CANCELLED by 1000|3||None|n1|forge-b\n"
    )
    array = {"name": "forge-a", "elapsed": 15, "memory": 4 << 20}
    assert {
        "7": {"state": "FAILED", "reason": "NonZeroExitCode", "nodes": "n2"} | array,
        "8": {
            "state": "CANCELLED",
            "name": "forge-b",
            "elapsed": 3,
            "memory": 0,
            "cancelled_by": "1000",
            "nodes": "n1",
        },
    } == parsed(said)
