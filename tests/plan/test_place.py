"""What a manifest may point at: its project, and what the person who runs it named."""

import pytest

from forge.core.errors import ManifestError
from forge.plan.load import load

READ = '[sources.raw]\nuse = "toy.read"\npath = "{}"\n'


@pytest.fixture
def lake(tmp_path):
    """Return a folder beside the project, with a file in it."""
    folder = tmp_path / "lake"
    folder.mkdir()
    (folder / "secret.txt").write_text("secret")
    return folder


@pytest.fixture
def refused(plan):
    """Return the problems of a manifest."""

    def problems(text, *sets):
        with pytest.raises(ManifestError) as error:
            plan(text, *sets, name="project/manifests/x.toml")
        return error.value.problems

    return problems


@pytest.mark.parametrize(
    "path",
    [
        "../lake/secret.txt",
        "data/../../lake/*.txt",
        "{lake}/secret.txt",
        "{lake}/*.txt",
        "data/../..",
        "*/../../lake/secret.txt",
    ],
)
def test_a_path_that_leads_out_is_refused_by_file_and_line(refused, lake, path):
    (lake.parent / "project/data").mkdir(parents=True)
    [problem] = refused(READ.format(path.format(lake=lake)))
    assert ("project/manifests/x.toml", 3, "raw") == (problem.file[-24:], problem.line, problem.step)
    assert "leads out of the project" in problem.message or "behind a wildcard" in problem.message
    assert "--set" in problem.hint
    assert "FORGE_ALLOW=" in problem.hint


def test_a_path_out_of_the_params_of_a_manifest_is_refused_too(refused, lake):
    [problem] = refused(f'[params]\ndata = "{lake}"\n' + READ.format("${data}/secret.txt"))
    assert "leads out" in problem.message


@pytest.mark.parametrize("data", ["../lake", "{lake}"])
def test_a_path_that_a_person_gave_is_their_own(plan, lake, data):
    (lake.parent / "project").mkdir()
    text = '[params]\ndata = "."\n' + READ.format("${data}/*.txt")
    graph = plan(text, f"data={data.format(lake=lake)}", name="project/manifests/x.toml")
    assert ["secret.txt"] == [file.name for file in graph.steps["raw"].files["path"]]
    graph = plan(READ.format("x"), f"raw.path={data.format(lake=lake)}/*.txt", name="project/manifests/x.toml")
    assert ["secret.txt"] == [file.name for file in graph.steps["raw"].files["path"]]


def test_what_a_person_gave_is_no_way_to_its_neighbours(refused, lake):
    (lake / "in").mkdir()
    [problem] = refused('[params]\ndata = "."\n' + READ.format("${data}/../secret.txt"), f"data={lake}/in")
    assert "leads out" in problem.message
    [problem] = refused('[params]\ndata = "."\n' + READ.format("${data}ke/secret.txt"), f"data={lake.parent}/la")
    assert "leads out" in problem.message


def test_a_folder_of_the_environment_is_allowed(plan, refused, lake, monkeypatch):
    monkeypatch.setenv("FORGE_ALLOW", f"/nowhere:{lake}")
    graph = plan(READ.format(f"{lake}/secret.txt"), name="project/manifests/x.toml")
    assert ["secret.txt"] == [file.name for file in graph.steps["raw"].files["path"]]
    monkeypatch.setenv("FORGE_ALLOW", "/nowhere")
    assert refused(READ.format(f"{lake}/secret.txt"))


def test_links_that_lead_out_are_refused_by_name(refused, lake):
    data = lake.parent / "project/data"
    (data / "in").mkdir(parents=True)
    (data / "in/own.txt").write_text("own")
    (data / "alias.txt").symlink_to("in/own.txt")
    (data / "stolen.txt").symlink_to(lake / "secret.txt")
    [problem] = refused(READ.format("data/*.txt"))
    assert "`stolen.txt` is a link that leads out of `data`" in problem.message
    (data / "stolen.txt").unlink()
    (data / "folder").symlink_to(lake)
    [problem] = refused(READ.format("data"))
    assert "`folder/secret.txt` is a link" in problem.message
    [problem] = refused(READ.format("data/folder/*.txt"))
    assert "leads out of the project" in problem.message


def test_links_to_what_is_matched_too_are_followed(plan, lake):
    data = lake.parent / "project/data"
    (data / "in").mkdir(parents=True)
    (data / "in/own.txt").write_text("own")
    (data / "alias.txt").symlink_to("in/own.txt")
    graph = plan(READ.format("data"), name="project/manifests/x.toml")
    assert ["alias.txt", "in/own.txt"] == [file.name for file in graph.steps["raw"].files["path"]]


def test_a_manifest_can_not_name_files_past_their_paths(refused, lake):
    [problem] = refused(
        f'[sources.raw]\nuse = "toy.read"\npath = {{ files = [["a", "{lake}/secret.txt"]], pattern = "a" }}\n'
    )
    assert "must be a path or a glob" in problem.message


def test_extending_a_manifest_outside_is_refused(write, lake, monkeypatch):
    (lake / "base.toml").write_text(READ.format("a.txt"))
    path = write('[forge]\nextends = "../../lake/base.toml"\n', "project/manifests/x.toml")
    with pytest.raises(ManifestError) as error:
        load(path)
    assert (2, "leads out of the project") == (error.value.problems[0].line, error.value.problems[0].message[-24:])
    monkeypatch.setenv("FORGE_ALLOW", str(lake))
    assert ["raw"] == [step.name for step in load(path).steps]


def test_the_root_of_a_manifest_stays_in_its_project(write, lake, monkeypatch):
    assert lake.parent == load(write('[forge]\nroot = "../.."\n' + READ.format("a"), "manifests/deep/x.toml")).root
    path = write('[forge]\nroot = ".."\n' + READ.format("a"), "project/x.toml")
    with pytest.raises(ManifestError, match="leads out of the project"):
        load(path)
    monkeypatch.setenv("FORGE_ALLOW", str(lake.parent))
    assert lake.parent == load(path).root
