from forge.core.suggest import did_you_mean


def test_the_closest_name_is_suggested():
    assert "did you mean `least`?" == did_you_mean("leest", ["least", "most", "column"])


def test_few_names_are_listed_where_none_is_close():
    assert "there is `a`, `b`" == did_you_mean("xyzzy", ["b", "a", "b"])


def test_many_names_help_nobody():
    assert did_you_mean("xyzzy", [f"name{n}" for n in range(13)]) is None
    assert did_you_mean("xyzzy", []) is None
