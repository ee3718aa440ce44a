"""Sweeps in a manifest: which steps they become, and what other steps mean by their names."""

import pytest

from forge.core.errors import ManifestError
from forge.core.step import split_reference
from forge.plan.keys import Keys
from forge.store.base import Store
from forge.store.signatures import Signatures

RAW = """
[sources.raw]
use = "toy.read"
path = "data/*.txt"

[transforms.keep]
use = "toy.keep"
from = "raw"
"""
GRID = RAW + "[transforms.keep.sweep]\nshare = [1e-4, 0.5]\nleast = [8, 16]\n"
BEST = GRID + 'lowest = "loss"\n'
FIT = '\n[trainers.fit]\nuse = "toy.fit"\nfrom = { data = "keep" }\n'
FOLLOW = FIT.replace('"keep"', '"keep[*]"')


def problems(plan, text):
    with pytest.raises(ManifestError) as caught:
        plan(text)
    return [(p.line, p.step, p.message, p.hint) for p in caught.value.problems]


def inputs(graph, step):
    return [each.reference for each in graph.steps[step].inputs]


def test_a_grid_becomes_a_step_for_each_point_over_steps_that_are_shared(plan):
    graph = plan(GRID)
    points = [f"keep[share={share},least={least}]" for share in ("0.0001", "0.5") for least in (8, 16)]
    assert ["raw", *points] == list(graph.steps)
    assert {"share": 0.0001, "least": 16} == graph.steps["keep[share=0.0001,least=16]"].params
    assert points == [point.step for point in graph.sweeps["keep"].points]


def test_points_are_listed_and_a_point_may_leave_a_parameter_as_it_is(plan):
    text = RAW + 'word = "a"\n[transforms.keep.sweep]\npoints = [{ least = 3 }, { least = 4, word = "x y" }]\n'
    graph = plan(text)
    assert ["keep[least=3]", "keep[least=4,word=#1]"] == list(graph.steps)[1:]
    assert {"least": 3, "word": "a"} == graph.steps["keep[least=3]"].params
    assert {"least": 4, "word": "x y"} == graph.steps["keep[least=4,word=#1]"].params


def test_a_point_has_the_key_of_the_step_that_is_written_out(plan, tmp_path):
    def keys(graph, step):
        action = Keys(graph, Signatures(Store.open(tmp_path / "store"), "test"))
        raw = action.file_tree(graph.steps["raw"].files["path"])
        return action.action(graph.steps[step], {"raw": raw}).key

    written = keys(plan(RAW + "share = 0.5\nleast = 8\n"), "keep")
    assert written == keys(plan(GRID), "keep[share=0.5,least=8]")
    other = GRID.replace("[1e-4, 0.5]", "[0.5, 7]").replace("[8, 16]", "[1, 8]")
    assert written == keys(plan(other), "keep[share=0.5,least=8]")


def test_what_takes_the_swept_step_gets_the_best_by_its_figure(plan):
    graph = plan(BEST + FIT)
    assert ["keep"] == inputs(graph, "fit")
    best = graph.steps["keep"]
    assert ("sweep.best", "exporter", 4) == (best.use, best.kind, len(best.inputs))
    assert ("loss", True) == (best.instance.metric, best.instance.lowest)
    assert "share=0.0001,least=8" == best.inputs[0].name
    assert not plan(BEST.replace("lowest", "highest") + FIT).steps["keep"].instance.lowest


def test_without_a_figure_a_swept_step_has_no_best_to_give(plan):
    hint = 'say which is best by `lowest = "…"` in its `sweep`, name one as `keep[share=0.0001,least=8]`, or all as '
    assert [(15, "fit", "`keep` is a sweep of 4 points", hint + "`keep[*]`")] == problems(plan, GRID + FIT)


@pytest.mark.parametrize("point", ["share=1e-4,least=8", "least=8, share=0.0001"])
def test_a_point_is_named_however_its_values_are_spelled(plan, point):
    graph = plan(GRID + FIT.replace('"keep"', f'"keep[{point}]"'))
    assert ["keep[share=0.0001,least=8]"] == inputs(graph, "fit")


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        ("keep[least=8]", "`keep[least=8]` names 2 points of `keep`", "such as `keep[share=0.0001,least=8]`"),
        ("keep[least=9]", "`keep[least=9]` names no point of `keep`", "did you mean `keep[share=0.5,least=8]`?"),
        ("raw[*]", "`raw` is no sweep", "name `raw`"),
    ],
)
def test_a_reference_that_names_no_point_or_several_is_told(plan, reference, message, hint):
    [(_, step, said, hinted)] = problems(plan, GRID + FIT.replace('"keep"', f'"{reference}"'))
    assert ("fit", message) == (step, said)
    assert hinted == hint or "keep[least=9]" in message


def test_a_step_that_takes_every_point_becomes_a_step_for_each(plan):
    more = '\n[transforms.join]\nuse = "toy.join"\nfrom = { model = "fit[*]", rows = "keep[*]", raw = "raw" }\n'
    graph = plan(GRID + FOLLOW + more)
    assert 4 == len(graph.sweeps["fit"].points) == len(graph.sweeps["join"].points)
    at = "[share=0.5,least=16]"
    assert [f"keep{at}"] == inputs(graph, f"fit{at}")
    assert [f"fit{at}", f"keep{at}", "raw"] == inputs(graph, f"join{at}")  # of one point, not of any


def test_a_step_that_follows_may_sweep_and_choose_for_itself(plan):
    own = '\n[trainers.fit.sweep]\nseed = [1, 2]\nhighest = "score"\n'
    more = '\n[transforms.join]\nuse = "toy.join"\nfrom = { model = "fit" }\n'
    graph = plan(GRID.replace("[1e-4, 0.5]", "[0.5]") + FOLLOW + own + more)
    assert [f"fit[share=0.5,least={n},seed={s}]" for n in (8, 16) for s in (1, 2)] == [
        name for name in graph.steps if name.startswith("fit[")
    ]
    assert ["fit"] == inputs(graph, "join")


def test_two_sweeps_of_one_parameter_are_told_apart(plan):
    second = '\n[transforms.more]\nuse = "toy.keep"\nfrom = "keep[*]"\n[transforms.more.sweep]\nleast = [1, 2]\n'
    graph = plan(RAW + "[transforms.keep.sweep]\nleast = [8, 16]\n" + second)
    assert "more[keep:least=8,more:least=2]" in graph.steps


def test_parts_of_points_are_named_behind_the_brackets(plan):
    halves = '\n[transforms.halves]\nuse = "toy.halves"\nfrom = "keep[*]"\n'
    given = '{ data = "halves[*].early", eval = "halves[share=0.5,least=8].late" }'
    fit = f'\n[trainers.fit]\nuse = "toy.fit"\nfrom = {given}'
    graph = plan(GRID + halves + fit)
    assert ["halves[share=0.0001,least=8].early", "halves[share=0.5,least=8].late"] == inputs(
        graph, "fit[share=0.0001,least=8]"
    )
    assert ("a[b=0.1]", "c.d") == split_reference("a[b=0.1].c.d")
    assert ("a", "b") == split_reference("a.b")


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("sweep = 3", "`sweep` must be a table, got `3`"),
        ("[transforms.keep.sweep]", "`sweep` names no parameter"),
        ("[transforms.keep.sweep]\nleast = 3", "`least` must be a list of values, got `3`"),
        ("[transforms.keep.sweep]\nleast = []", "`least` must be a list of values, got `[]`"),
        ("[transforms.keep.sweep]\npoints = [3]", "`points` must be a list of tables, got `[3]`"),
        ("[transforms.keep.sweep]\nuse = ['a']", "`use` can't be swept"),
        ("[transforms.keep.sweep]\nleast = [1]\nlowest = 3", "`lowest` must name a figure, got `3`"),
        ("[transforms.keep.sweep]\nleast = [1]\nlowest = 'a'\nhighest = 'b'", "give one of `lowest` and `highest`"),
        ("[transforms.keep.sweep]\nleast = [1, 1]", "the point `keep[least=1]` is there twice"),
        ("[transforms.keep.sweep]\nleest = [1, 2]", "there is no parameter `leest`"),
        ("[transforms.keep.sweep]\nleast = [1, 'x']", '`least` must be an integer, got `"x"`'),
        ("share = 'x'\n[transforms.keep.sweep]\nleast = [1, 2, 3]", '`share` must be a number, got `"x"`'),
    ],
)
def test_a_sweep_that_is_wrong_is_told_once_what_is_wrong_in_it(plan, sweep, message):
    assert [message] == [said for _, _, said, _ in problems(plan, RAW + sweep + "\n")]


@pytest.mark.parametrize(
    ("target", "steps"),
    [
        ("keep", 5),
        ("keep[*]", 4),
        ("keep[least=8]", 2),
        ("keep[share=1e-4,least=8]", 1),
    ],
)
def test_a_target_names_the_best_all_points_or_some(plan, target, steps):
    assert steps == len(plan(BEST + FIT, targets=[target]).steps) - 1
    assert 4 == len(plan(GRID, targets=["keep"]).steps) - 1


def test_setting_what_is_swept_is_told_to_change_nothing(plan):
    with pytest.raises(ManifestError) as caught:
        plan(GRID, "keep.least=3")
    [problem] = caught.value.problems
    assert "`--set keep.least` changes nothing: `least` is swept" == problem.message
    assert "set `keep.sweep.least`" == problem.hint
    assert 2 == len(plan(GRID, "keep.sweep.least=[3]").sweeps["keep"].points)


MEASURED = (
    RAW
    + """
[trainers.fit]
use = "toy.measured"
from = { data = "keep"%s }
[trainers.fit.sweep]
seed = [1, 2]
lowest = "%s"
"""
)


@pytest.mark.parametrize(
    ("held_out", "figure", "hint"),
    [
        (', eval = "keep"', "evl_loss", "did you mean `eval_loss`?"),
        ("", "eval_loss", "did you mean `loss`?"),
        ("", "speed", "there is `loss`"),
    ],
)
def test_a_figure_that_no_point_will_leave_is_told_before_anything_runs(plan, held_out, figure, hint):
    [told] = problems(plan, MEASURED % (held_out, figure))
    assert (13, "fit", f"`fit[seed=1]` will leave no figure `{figure}`", hint) == told


def test_figures_that_are_known_and_steps_that_name_none_are_left_alone(plan):
    assert "fit" in plan(MEASURED % (', eval = "keep"', "eval_loss")).steps
    assert "keep" in plan(BEST + FIT).steps
