"""What a look ahead finds on samples, and what it does about steps that can't be tried."""

import json


def messages(look, state=None):
    return [n["message"] for n in look["notices"] if state in (None, n["state"])]


def test_steps_are_tried_on_the_first_rows_and_say_what_became_of_them(peek):
    peek.chain()
    looks = peek.check()
    assert {"words": "good", "long": "good", "model": "good", "shipped": "doubtful", "quiet": "unseen", "": "good"} == {
        name: look["state"] for name, look in looks.items()
    }
    assert ["3 rows; left out: 1 × not a word"] == messages(looks["words"])
    assert ["2 of 3 rows; left out: 1 × too short"] == messages(looks["long"])
    assert ["2 rows to train on"] == messages(looks["model"])
    assert ["of a stand-in"] == messages(looks["shipped"])
    assert ["not tried: it runs only in a build"] == messages(looks["quiet"])


def test_nothing_is_built_by_a_check(peek):
    peek.chain()
    peek.check()
    assert ["look"] == peek.runs()
    assert [] == list((peek.store / "actions").rglob("*.json"))
    assert [] == list((peek.store / "staging").iterdir())
    assert "ran" == peek.build().steps["words"].status


def test_no_rows_left_is_a_problem_where_all_were_read(peek):
    peek.chain(least=9)
    looks = peek.check()
    assert ["it has no rows left of 3; left out: 3 × too short"] == messages(looks["long"], "bad")
    assert ["there is no sample of `long` to try it on"] == messages(looks["model"], "unseen")


def test_more_rows_are_read_where_the_first_leave_nothing(peek):
    peek.write("words/a.txt", "a\n" * 300 + "bee\n")
    peek.chain()
    assert ["1 of 301 rows; left out: 300 × too short"] == messages(peek.check()["long"])


def test_no_rows_left_of_a_sample_is_a_doubt_alone(peek):
    for number in range(200):
        peek.write(f"words/{number:03}.txt", "a\n")
    peek.write("words/001.txt", "bee\n")
    peek.chain()
    looks = peek.check()
    assert ["67 rows of 67 of 201 files"] == [m.removeprefix("the first ") for m in messages(looks["words"])]
    assert "doubtful" == looks["long"]["state"]
    assert ["it has no rows left of the sample of 67; left out: 67 × too short"] == messages(looks["long"])


def test_an_empty_part_of_a_split_is_named(peek):
    peek.manifest(
        """
        [sources.words]
        use = "peek.words"
        path = "words/*.txt"

        [transforms.halves]
        use = "peek.halves"
        from = "words"

        [transforms.late]
        use = "peek.long"
        from = "halves.late"
        """
    )
    peek.write("words/a.txt", "a\nbee\n")
    looks = peek.check()
    assert ["part `late` has no rows left of 2"] == messages(looks["halves"], "bad")
    assert ["`halves.late` has no row in the sample"] == messages(looks["late"], "unseen")


def test_a_column_that_is_not_there_gets_the_nearest_name(peek):
    peek.chain()
    (peek.root / "forge.toml").write_text((peek.root / "forge.toml").read_text().replace("least = 2", 'column = "wrd"'))
    [notice] = peek.check()["long"]["notices"]
    assert ("columns", "bad", "there is no column `wrd`", "did you mean `word`?") == (
        notice["what"],
        notice["state"],
        notice["message"],
        notice["hint"],
    )


def test_what_the_store_has_is_taken_from_there(peek):
    peek.chain()
    peek.build("long")
    looks = peek.check()
    assert ["made already"] == messages(looks["words"])
    assert ["made already"] == messages(looks["long"])
    assert ["2 rows to train on"] == messages(looks["model"])


def test_a_step_s_refusal_is_a_problem_and_a_fault_of_its_look_a_doubt(peek):
    peek.chain("refused")
    [_, refused] = peek.check()["model"]["notices"]
    assert ("bad", "the rows are of no use", "write others") == (refused["state"], refused["message"], refused["hint"])
    peek.chain("bug")
    [_, failed] = peek.check()["model"]["notices"]
    assert ("doubtful", "its look ahead failed: KeyError: 'oops'") == (failed["state"], failed["message"])
    said = peek.forge("check", "forge.toml").stdout
    assert "no problem found" not in said
    assert "doubt" in said.splitlines()[-1]


def test_a_library_that_aborts_takes_its_own_step_alone(peek):
    peek.chain("crash")
    looks = peek.check()
    [notice] = looks["model"]["notices"]
    assert ("crash", "bad") == (notice["what"], notice["state"])
    assert "SIGABRT" in notice["message"]
    assert ["2 of 3 rows; left out: 1 × too short"] == messages(looks["long"])
    assert "unseen" == looks["shipped"]["state"]


def test_a_look_ends_when_its_time_is_over_and_says_so(peek):
    peek.chain("slow")
    result = peek.forge("check", "forge.toml", "--within", "5", "--json")
    document = json.loads(result.stdout)
    looks = {look["step"]: look for look in document["looks"]}
    assert 0 == result.exit_code
    assert document["seconds"] < 60
    assert "good" == looks["long"]["state"]
    assert ["the time for looking was over"] == messages(looks["model"])


def test_a_disk_that_is_too_small_is_found_and_the_largest_step_named(peek):
    peek.chain("huge")
    [notice] = peek.check()[""]["notices"]
    assert ("disk", "bad") == (notice["what"], notice["state"])
    assert notice["message"].endswith(": `model` 1000000.0 TB")
