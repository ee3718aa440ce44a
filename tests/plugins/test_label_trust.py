"""Votes, evidence, agreement, drift, and the pick of rows for people."""

import json

import attrs
import polars as pl
import pytest

import forge
from forge.run.labels import label_rows
from forge.store.journal import Journal
from forge_label import agreement
from forge_label.check import Labels
from forge_label.endpoint import OpenAI
from forge_label.pick import Pick
from forge_label.schema import Label
from forge_label.votes import decided

FLAGS = ("none", "suicidal", "self_harm", "violence")
SCHEMA = {"level": Label(minimum=0, maximum=3), "risk_flag": Label(enum=FLAGS)}


@pytest.fixture
def run(tmp_path):
    return forge.LocalRun(scratch=tmp_path)


@attrs.frozen(kw_only=True)
class Scripted(OpenAI):
    """Answer by model and seed out of a table, and remember what was asked."""

    answers: dict = attrs.Factory(dict)
    asked_for: list = attrs.Factory(list)

    async def ask(self, request):
        self.asked_for.append(request)
        text = request.messages[-1]["content"]
        answer = self.answers[request.identity["model"], request.identity.get("seed"), text]
        return forge.Reply(answer, request.identity["model"], 10, 5)


def scripted(answers, **parameters):
    parameters = {"prompt_text": "{{ text }}", "schema": SCHEMA, "attempts": 1, **parameters}
    return Scripted(base_url="http://x/v1", model="m", column="text", answers=answers, **parameters)


def said(level, risk):
    return json.dumps({"level": level, "risk_flag": risk})


def label(mine, texts, folder, run):
    return label_rows(mine, pl.DataFrame({"id": texts, "text": texts}), Journal(folder / "j"), run)


def test_every_vote_is_a_request_with_a_seed_of_its_own_and_the_majority_counts(tmp_path, run):
    votes = {("m", 7, "a"): said(1, "none"), ("m", 8, "a"): said(3, "none"), ("m", 9, "a"): said(1, "suicidal")}
    mine = scripted(votes, votes=3, seed=7, temperature=1.0)
    out = label(mine, ["a"], tmp_path, run).row(0, named=True)
    assert (1, "none", "labelled") == (out["level"], out["risk_flag"], out["label_state"])
    assert [said(1, "none"), said(3, "none"), said(1, "suicidal")] == out["label_votes"]
    assert 0.666667 == out["label_agreement"]
    assert [7, 8, 9] == sorted(request.identity["seed"] for request in mine.asked_for)


def test_models_vote_and_of_equals_the_graver_counts(tmp_path, run):
    votes = {("x", None, "a"): said(0, "none"), ("y", None, "a"): said(2, "self_harm")}
    out = label(scripted(votes, models=("x", "y")), ["a"], tmp_path, run).row(0, named=True)
    assert (2, "self_harm", "x + y") == (out["level"], out["risk_flag"], out["label_source"])


def test_votes_that_can_t_be_used_refuse_the_row_once_they_are_half(tmp_path, run):
    votes = {("x", None, "a"): said(0, "none"), ("y", None, "a"): "no", ("x", None, "b"): said(1, "none")}
    votes[("y", None, "b")] = said(1, "none")
    out = label(scripted(votes, models=("x", "y"), completeness=0.5), ["a", "b"], tmp_path, run)
    assert ["refused", "labelled"] == out["label_state"].to_list()
    assert "only 1 of 2 votes can be used: the reply holds no JSON object" in out["label_reason"][0]
    assert [None, "none"] == out["risk_flag"].to_list()


def test_votes_of_one_model_that_can_t_differ_are_refused():
    with pytest.raises(ValueError, match="are all the same"):
        scripted({}, votes=3)


def test_the_graver_value_is_the_later_in_its_enumeration():
    properties = {"risk_flag": {"enum": list(FLAGS)}}
    votes = [{"risk_flag": "none"}, {"risk_flag": "suicidal"}, {"risk_flag": "violence"}]
    assert "violence" == decided(votes, properties)["risk_flag"]
    assert "none" == decided([*votes, {"risk_flag": "none"}], properties)["risk_flag"]


def test_evidence_is_asked_for_first_and_shown_to_the_labels_prompt(tmp_path, run):
    answers = {("m", None, "quote a"): "<think>so</think>“我很难过”", ("m", None, "a: “我很难过”"): said(2, "none")}
    two = {"evidence_text": "quote {{ text }}", "prompt_text": "{{ text }}: {{ evidence }}", "evidence_tokens": 60}
    mine = scripted(answers, **two)
    out = label(mine, ["a"], tmp_path, run).row(0, named=True)
    assert ("“我很难过”", 2, "labelled") == (out["label_evidence"], out["level"], out["label_state"])
    first, second = mine.asked_for
    assert (60, 1024) == (first.identity["max_tokens"], second.identity["max_tokens"])
    assert ("response_format" in first.identity, "response_format" in second.identity) == (False, True)
    # another step with the same evidence pays for the labels alone
    answers[("m", None, "again “我很难过”")] = said(1, "none")
    other = scripted(answers, **{**two, "prompt_text": "again {{ evidence }}"})
    label(other, ["a"], tmp_path, run)
    assert ["again “我很难过”"] == [request.messages[-1]["content"] for request in other.asked_for]


def test_a_row_without_evidence_is_refused_and_not_labelled(tmp_path, run):
    mine = scripted({("m", None, "quote a"): " "}, evidence_text="quote {{ text }}", completeness=0.0)
    out = label(mine, ["a"], tmp_path, run)
    assert [("refused", "the reply is empty (attempt 1)")] == out.select("label_state", "label_reason").rows()


def test_kappa_and_alpha_are_those_of_the_textbooks():
    # Cohen (1960): 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no
    one = ["yes"] * 25 + ["no"] * 25
    other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert 0.4 == pytest.approx(agreement.kappa(one, other))
    assert 0.7 == agreement.share_equal(one, other)
    # Krippendorff (2011), "Computing Krippendorff's alpha-reliability", example C, nominal
    a = list("123321412...")
    b = list("1233224125.3")
    c = list(".3332342251.")
    d = list("12332441251.")
    raters = [[None if value == "." else value for value in rater] for rater in (a, b, c, d)]
    assert 0.743 == pytest.approx(agreement.alpha(raters), abs=0.0005)
    ordinal = [[None if value == "." else int(value) for value in rater] for rater in (a, b, c, d)]
    assert 0.815 == pytest.approx(agreement.alpha(ordinal), abs=0.0005)


def test_agreement_on_one_value_alone_is_not_defined():
    assert agreement.kappa([1, 1], [1, 1]) is None
    assert agreement.alpha([[1, 1], [1, 1]]) is None


def test_a_far_miss_counts_more_than_a_near_one():
    truth = [0, 1, 2, 3] * 5
    near = [min(value + (index == 0), 3) for index, value in enumerate(truth)]
    far = [3 if index == 0 else value for index, value in enumerate(truth)]
    assert agreement.kappa(truth, near) > agreement.kappa(truth, far)


def check(folder, run, tables, **parameters):
    inputs = {}
    for name, table in tables.items():
        forge.write_rows(table, folder / name)
        inputs[name] = forge.Artifact(name, folder / name)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    mine = Labels(labels=("level", "risk_flag"), **parameters)
    return {finding.name: finding for finding in mine.check(inputs, out, run)}, out


def rows(levels, risks, states=None):
    states = states or ["labelled"] * len(levels)
    ids = [str(number) for number in range(len(levels))]
    return pl.DataFrame({"id": ids, "level": levels, "risk_flag": risks, "label_state": states})


def test_labels_are_held_against_gold_with_bounds_pictures_and_missed_risk(tmp_path, run):
    data = rows([0, 1, 2, None], ["none", "none", "suicidal", None], ["labelled"] * 3 + ["refused"])
    gold = rows([0, 1, 3, 3], ["none", "suicidal", "suicidal", "violence"])
    bounds = {"agreement": 0.6, "kappa.level": 0.99, "missed_risk": 0.25, "refused": 0.25}
    found, out = check(tmp_path, run, {"data": data, "gold": gold}, risk="risk_flag", require=bounds)
    assert (0.666667, True) == (found["agreement.level"].value, found["agreement.level"].passed)
    assert not found["kappa.level"].passed
    assert found["kappa.risk_flag"].passed
    assert (0.5, False) == (found["missed_risk"].value, found["missed_risk"].passed)
    assert (0.25, True) == (found["refused"].value, found["refused"].passed)
    names = {"confusion_level.png", "confusion_risk_flag.png", "distribution_level.png", "distribution_risk_flag.png"}
    assert {*names, "distributions.json"} == {path.name for path in out.rglob("*.*")}
    first = {path.name: path.read_bytes() for path in out.rglob("*.*")}
    check(tmp_path, run, {"data": data, "gold": gold}, risk="risk_flag", require=bounds)
    assert first == {path.name: path.read_bytes() for path in out.rglob("*.*")}


def test_a_distribution_that_moves_since_the_last_build_is_seen(tmp_path, run):
    _, out = check(tmp_path, run, {"data": rows([0, 0, 1, 1], ["none"] * 4)})
    before = tmp_path / "before.json"
    before.write_bytes((out / "baseline/distributions.json").read_bytes())
    moved = rows([0, 1, 1, 1], ["none"] * 4)
    given = {"before": forge.File("before.json", before), "require": {"drift": 0.1}}
    found, _ = check(tmp_path, run, {"data": moved}, **given)
    assert (0.25, False) == (found["drift.level"].value, found["drift.level"].passed)
    assert (0.0, True) == (found["drift.risk_flag"].value, found["drift.risk_flag"].passed)


def test_votes_and_another_labeler_are_compared(tmp_path, run):
    votes = [[said(0, "none"), said(0, "none")], [said(1, "none"), said(2, "suicidal")], [said(3, "violence")] * 2]
    data = rows([0, 1, 3], ["none", "none", "violence"]).with_columns(pl.Series("label_votes", votes))
    found, _ = check(tmp_path, run, {"data": data, "other": rows([0, 1, 3], ["none", "none", "violence"])})
    assert 1.0 == found["alpha.level"].value == found["kappa_other.risk_flag"].value
    assert 0.0 < found["alpha_votes.level"].value < 1.0


def test_a_bound_on_what_is_not_there_is_an_error(tmp_path, run):
    with pytest.raises(forge.StepError, match="`kappa` is bounded, and there is no `gold`"):
        check(tmp_path, run, {"data": rows([0], ["none"])}, require={"kappa": 0.5})
    with pytest.raises(ValueError, match="knows no figure `cappa`"):
        Labels(labels=("level",), require={"cappa": 0.5})


def test_a_bounded_figure_that_is_not_defined_fails(tmp_path, run):
    table = rows([0, 0], ["none", "none"])
    found, _ = check(tmp_path, run, {"data": table, "gold": table}, require={"kappa": 0.5})
    assert (None, False) == (found["kappa.level"].value, found["kappa.level"].passed)


def test_rows_that_share_a_name_can_t_be_matched(tmp_path, run):
    table = rows([0, 0], ["none", "none"]).with_columns(id=pl.lit("a"))
    with pytest.raises(forge.StepError, match="holds a value of `id` twice"):
        check(tmp_path, run, {"data": table})


def test_risk_is_looked_at_first_then_what_has_no_labels_then_what_the_votes_differ_on():
    table = pl.DataFrame(
        {
            "id": ["calm", "split", "refused", "one vote", "risk", "calm too"],
            "risk_flag": ["none", "none", None, "none", "suicidal", "none"],
            "label_state": ["labelled", "labelled", "refused", "labelled", "labelled", "labelled"],
            "label_agreement": [1.0, 0.5, None, 0.6, 1.0, 1.0],
            "label_votes": [
                [said(0, "none")] * 2,
                [said(0, "none"), said(2, "none")],
                [None, None],
                [said(0, "none"), said(0, "violence")],
                [said(3, "suicidal")] * 2,
                [said(0, "none")] * 2,
            ],
        }
    )
    picked = forge.kept(Pick(count=5).transform(table.lazy())).collect()
    assert ["one vote", "risk", "refused", "split"] == picked["id"].to_list()[:4]
    assert ["risk", "risk", "not labelled", "votes differ", "sample"] == picked["pick_reason"].to_list()
    sampled = forge.kept(Pick(count=3, sample=2, seed=1).transform(table.lazy())).collect()
    assert ["risk", "sample", "sample"] == sampled["pick_reason"].to_list()
    assert sampled.equals(forge.kept(Pick(count=3, sample=2, seed=1).transform(table.lazy())).collect())


def test_rows_without_votes_can_be_picked_from_too():
    table = pl.DataFrame({"id": [1, 2], "risk_flag": ["none", "violence"]})
    assert [2] == forge.kept(Pick(count=1).transform(table.lazy())).collect()["id"].to_list()
