from forge.plan.lines import lines_of


def test_tables_and_keys_have_lines():
    text = '[a]\nx = 1\n\n[a.b]  # more\ny.z = 2\n"quoted key" = 3\n[c."d.e"]\nf = 1\n'
    assert {
        ("a",): 1, ("a", "x"): 2, ("a", "b"): 4, ("a", "b", "y", "z"): 5, ("a", "b", "quoted key"): 6,
        ("c",): 7, ("c", "d.e"): 7, ("c", "d.e", "f"): 8,
    } == lines_of(text)  # fmt: skip


def test_what_stands_in_a_text_of_several_lines_is_no_key():
    text = '[a]\nx = """\n[b]\ny = 1\n"""\nz = 2\n'
    assert {("a",): 1, ("a", "x"): 2, ("a", "z"): 6} == lines_of(text)


def test_the_first_of_several_counts():
    assert {("a",): 1, ("a", "b"): 1, ("a", "c"): 2} == lines_of("[a.b]\n[a.c]\n")
