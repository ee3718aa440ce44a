"""What goes wrong with the controller; each test has the cluster for itself."""

import shutil
import signal
import time

from .waiting import wait_until
from .work import kill, step


def test_a_controller_that_is_killed_and_comes_back_costs_nothing(slurm, project):
    # fact 3: neither `sbatch` nor `squeue` means by failing that a job is gone
    project.steps(step("one", gate=True), step("two", gate=True), step("three", "one two"))
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"] and project.notes()["begun two"])
    time.sleep(6)  # the controller writes its state every five seconds
    slurm.kill_controller()
    time.sleep(1)
    project.open("one")
    time.sleep(3)
    assert None is process.poll(), project.said()
    slurm.start_controller()
    project.open("two")
    assert 0 == process.wait(150), project.said()
    project.check_submitted_once(slurm)
    project.check_whole(project.build())


def test_a_lost_job_whose_id_another_one_got_is_submitted_again(slurm, project):
    # fact 4: an id is a hint, not a name
    project.steps(
        step("one"), step("two", "one"), executor=project.executor + '[executor.transform]\nextra = ["--hold"]\n'
    )
    remember(slurm)
    process = project.command("build", "forge.toml")
    [lost] = wait_until(lambda: slurm.living(project))
    project.steps(step("one"), step("two", "one"))
    kill(process)
    forget(slurm)
    words = ("sbatch", "--parsable", "--output=/dev/null", "--job-name=stranger", "--wrap", "sleep 60")
    while int(stranger := slurm.run(*words).strip()) < int(lost):
        pass
    assert lost == stranger
    process = project.command("build", "forge.toml")
    assert 0 == process.wait(150), project.said()
    project.check_whole(project.build())


def test_a_job_that_the_controller_forgot_is_submitted_again_by_the_build_that_waits_for_it(slurm, project):
    held = project.executor + '[executor.transform]\nextra = ["--hold"]\n'
    project.steps(step("one"), step("two", "one"), executor=held)
    remember(slurm)
    process = project.command("build", "forge.toml")
    wait_until(lambda: slurm.living(project))
    forget(slurm)
    for _ in range(2):
        [job] = wait_until(lambda: slurm.living(project), 60)
        slurm.run("scontrol", "release", job)
        wait_until(lambda job=job: job not in slurm.living(project), 60)
    assert 0 == process.wait(150), project.said()
    project.check_whole(project.build())


def remember(slurm):
    """Keep what the controller knows now."""
    slurm.cluster.kill_daemon("slurmctld", signal.SIGTERM)
    shutil.copytree(slurm.cluster.state / "controller", slurm.cluster.state / "kept", dirs_exist_ok=True)
    slurm.start_controller()


def forget(slurm):
    """Let the controller lose what came since, as one does that is killed right after `sbatch`; ids are given again."""
    slurm.kill_controller()
    shutil.rmtree(slurm.cluster.state / "controller")
    shutil.copytree(slurm.cluster.state / "kept", slurm.cluster.state / "controller")
    slurm.start_controller()


def test_ended_jobs_that_have_left_the_queue_are_no_lost_jobs(slurm, project):
    # fact 2
    slurm.set(MinJobAge=2)
    project.steps(step("zero"), step("one", "zero", gate=True), step("two", "one", pause=4.0), step("three", "two"))
    process = project.command("build", "forge.toml")
    wait_until(lambda: project.notes()["begun one"])
    kill(process)
    project.open("one")
    wait_until(lambda: not slurm.jobs(project), 60)
    result = project.build()
    assert {"raw": "hit", "zero": "hit", "one": "hit", "two": "ran", "three": "ran"} == result.statuses
    project.check_whole(result)
    assert {1} == {project.notes()[f"begun {name}"] for name in ("zero", "one", "two", "three")}
