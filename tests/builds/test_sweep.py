"""Sweeps that are built: shared steps once, a step a point, the best taken on, points compared."""

import json

import pytest

PLUGIN = '''
import json
import os

import attrs

import forge


@attrs.frozen
class Fit:
    """Leave what a training run leaves."""

    rate: float = 0.1
    rank: int = 8
    bad: bool = False

    def train(self, inputs, out, run):
        with open(os.environ["RUNS"], "a") as file:
            file.write(f"fit {self.rate} {self.rank}\\n")
        if self.bad:
            raise forge.StepError("it diverged")
        loss = abs(self.rate - 0.17) + 1 / self.rank
        (out / "metrics.json").write_text(json.dumps({"eval_loss": loss, "rank": self.rank, "host": "x"}))
        points = [{"step": n, "loss": loss + 1 / n, "learning_rate": self.rate / n} for n in range(1, 9)]
        (out / "curve.jsonl").write_text("".join(json.dumps(point) + "\\n" for point in points))
        (out / "model").write_text(f"{self.rate} {self.rank}")


@attrs.frozen
class Press:
    """Write what came in."""

    def export(self, inputs, out, run):
        with open(os.environ["RUNS"], "a") as file:
            file.write("press\\n")
        (out / "file").write_bytes((inputs["model"].path / "model").read_bytes())


@forge.hookimpl
def forge_register(register):
    register.trainer("fit", Fit, version="1", inputs=("data",))
    register.exporter("press", Press, version="1", inputs=("model",))
'''

MANIFEST = """
    [sources.raw]
    use = "files.any"
    path = "raw.txt"

    [trainers.fit]
    use = "made.fit"
    from = { data = "raw" }

    [trainers.fit.sweep]
    rate = [1e-1, 0.3]
    rank = [4, 8]
    lowest = "eval_loss"

    [exporters.press]
    use = "made.press"
    from = { model = "fit" }
    """


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    from forge.testing import ForgeProject

    root = tmp_path_factory.mktemp("project")
    project = ForgeProject(root, {"RUNS": str(root / "runs")})
    project.plugin("made", PLUGIN)
    project.write("raw.txt", "raw")
    project.manifest(MANIFEST)
    built = project.build("--jobs", "1")
    assert 0 == built.exit_code, built.stderr
    return project


def runs(project):
    path = project.root / "runs"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_points_run_once_each_and_the_best_goes_on(swept):
    assert ["fit 0.1 4", "fit 0.1 8", "fit 0.3 4", "fit 0.3 8", "press"] == sorted(runs(swept))
    swept.forge("get", "forge.toml", "press", "got")
    assert "0.1 8" == (swept.root / "got/file").read_text()
    again = swept.build()
    assert {"hit"} == set(again.statuses.values())
    # the best is the point's artifact itself, so nothing is made of it that was made of the point
    by_name = {step["name"]: step["outputs"] for step in json.loads(again.stdout)["steps"]}
    assert by_name["fit"] == by_name["fit[rate=0.1,rank=8]"]


def test_another_point_runs_alone_and_what_follows_only_if_it_is_the_best(swept):
    runs(swept)
    worse = swept.build("--set", "fit.sweep.rank=[4, 8, 2]")
    assert {"fit", "fit[rate=0.1,rank=2]", "fit[rate=0.3,rank=2]"} == {
        name for name, status in worse.statuses.items() if status == "ran"
    }
    better = swept.build("--set", "fit.sweep.rate=[0.1, 0.3, 0.2]")
    assert {"fit", "fit[rate=0.2,rank=4]", "fit[rate=0.2,rank=8]", "press"} == {
        name for name, status in better.statuses.items() if status == "ran"
    }


def test_show_compares_the_points(swept):
    shown = swept.forge("show", "forge.toml", "fit").stdout
    assert "fit  4 points, the lowest `eval_loss` is the best" in shown
    [best] = [line.split() for line in shown.splitlines() if line.endswith("the best") and "points" not in line]
    assert ["0.1", "8"] == best[:2]
    assert "0.195" in best
    found = json.loads(swept.forge("show", "forge.toml", "fit", "--json").stdout)
    assert ("fit", "eval_loss", True) == (found["sweep"], found["metric"], found["lowest"])
    assert [False, True, False, False] == [point["best"] for point in found["points"]]
    assert {"rate": "0.1", "rank": "8"} == found["points"][1]["shown"]
    one = swept.forge("show", "forge.toml", "fit[rate=1e-1,rank=8]", "--json")
    assert 8 == json.loads(one.stdout)["metrics"]["rank"]
    several = swept.forge("explain", "forge.toml", "fit[rank=8]")
    assert (2, True) == (several.exit_code, "`fit[rank=8]` is a sweep of 2 points" in several.stderr)


def test_a_point_that_fails_stops_what_takes_the_best_and_no_other_point(swept):
    built = swept.build("--set", "fit.sweep.points=[{bad=true}, {bad=false}]")
    assert 1 == built.exit_code
    statuses = built.statuses
    assert ("failed", "skipped", "skipped") == (
        statuses["fit[bad=true,rate=0.1,rank=4]"],
        statuses["fit"],
        statuses["press"],
    )
    assert "hit" == statuses["fit[bad=false,rate=0.3,rank=8]"]


def test_the_report_compares_points_and_draws_their_curves_in_one_picture(swept):
    done = swept.forge("report", "forge.toml", "page.html", "--force")
    assert 0 == done.exit_code, done.stderr
    page = (swept.root / "page.html").read_text(encoding="utf-8")
    section = page[page.index("Sweep of fit") : page.index('<section class="step')]
    assert 2 * 4 == section.count("<polyline")  # loss and learning rate, of four points
    assert 'href="#step-fit[rate=0.1,rank=8]">the best</a>' in section
    assert 'id="step-fit[rate=0.1,rank=8]"' in page


def test_a_lock_plan_and_lineage_know_points_by_their_names(swept):
    planned = json.loads(swept.forge("plan", "forge.toml", "--json").stdout)
    assert "fit[rate=0.3,rank=4]" in {step["name"] for step in planned["steps"]}
    assert 0 == swept.forge("lock", "forge.toml").exit_code
    assert 0 == swept.build("--locked").exit_code
    traced = swept.forge("lineage", "forge.toml", "fit[rate=0.1,rank=8]")
    assert 0 == traced.exit_code, traced.stderr
