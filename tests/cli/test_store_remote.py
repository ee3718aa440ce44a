"""`forge store push` and `pull` as people run them, and one store that several machines build in."""

import json
import os
import shutil
import signal
import time

import pytest

from forge.testing import ForgeProject

MANIFEST = """
    [params]
    word = "a"

    [sources.raw]
    use = "files.any"
    path = "raw.txt"

    [transforms.two]
    use = "run.command"
    from = "raw"
    command = "tr a-z A-Z < $1 > $OUT/up; echo ${word} > $OUT/word"

    [transforms.three]
    use = "run.command"
    from = { x = "two", y = "raw" }
    command = "cat $1/up $2 > $OUT/both; echo three >> RUNS"
    """
HITS = {"raw": "hit", "two": "hit", "three": "hit"}


@pytest.fixture(autouse=True)
def without_a_key(monkeypatch):
    monkeypatch.delenv("FORGE_REMOTE_KEY", raising=False)


@pytest.fixture
def machines(tmp_path):
    """Give one project on two machines: the same manifest and data, each with a store of its own."""
    found = []
    for name in ("here", "there"):
        project = ForgeProject(tmp_path / name)
        project.manifest(MANIFEST.replace("RUNS", str(tmp_path / "runs")))
        project.write("raw.txt", "raw")
        found.append(project)
    return found


@pytest.fixture(params=["folder", "s3"])
def url(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path / "remote")
    return f"s3://{request.getfixturevalue('bucket').name}/forge"


def share(project, *arguments):
    """Run push or pull and return its exit code, its JSON, and what it said."""
    said = project.forge("store", *arguments, "--json")
    assert "Traceback" not in said.stderr
    return said.exit_code, json.loads(said.stdout) if said.stdout else {}, said.stderr


def sent(document, verb):
    return [(document[part][verb], document[part]["there"]) for part in ("objects", "trees", "records")]


# ---------------------------------------------------------------- push and pull


def test_a_build_after_a_pull_is_all_hits(machines, url, tmp_path):
    here, there = machines
    first = here.build()
    assert 0 == first.exit_code, first.stderr
    code, document, _ = share(here, "push", url, "forge.toml")
    # `raw` read a file, whose tree has the very member that the artifact has
    assert (0, [(4, 0), (3, 0), (3, 0)]) == (code, sent(document, "sent"))
    code, document, _ = share(there, "pull", url, "forge.toml")
    assert (0, [(4, 0), (3, 0), (3, 0)], {}) == (code, sent(document, "taken"), document["missing"])
    second = there.build()
    assert HITS == second.statuses
    assert {n: s.tree for n, s in first.steps.items()} == {n: s.tree for n, s in second.steps.items()}
    assert "three\n" == (tmp_path / "runs").read_text()
    assert "no fault" in there.forge("store", "verify").stdout
    code, document, _ = share(there, "pull", url, "forge.toml")
    assert (0, 0, 0) == (code, document["objects"]["bytes"], document["records"]["taken"])


def test_a_pull_of_a_step_takes_what_it_needs_and_no_more(machines, tmp_path):
    here, there = machines
    url = str(tmp_path / "remote")
    here.build()
    share(here, "push", url)
    code, document, _ = share(there, "pull", url, "forge.toml", "two")
    assert (0, [(3, 0), (2, 0), (2, 0)]) == (code, sent(document, "taken"))
    assert HITS | {"three": "ran"} == there.build().statuses


def test_a_pull_takes_what_fits_and_names_what_is_not_there(machines, tmp_path):
    here, there = machines
    url = str(tmp_path / "remote")
    here.build()
    share(here, "push", url)
    code, document, _ = share(there, "pull", url, "forge.toml", "--set", "word=b")
    assert (0, {"two": "not at the remote", "three": "after `two`"}) == (code, document["missing"])
    assert [(1, 0), (1, 0), (1, 0)] == sent(document, "taken")
    said = there.forge("store", "pull", url, "forge.toml", "--set", "word=b").stdout
    assert "not taken  three after `two`" in said


def test_what_was_pulled_for_a_manifest_outlives_a_collection(machines, tmp_path):
    here, there = machines
    here.build()
    share(here, "push", str(tmp_path / "remote"))
    share(there, "pull", str(tmp_path / "remote"), "forge.toml")
    then = time.time() - 30 * 86400
    for path in there.store.rglob("*"):
        os.utime(path, (then, then))
    assert "nothing to remove" in there.forge("store", "gc").stdout
    assert HITS == there.build().statuses


def test_a_push_of_what_is_not_built_says_so(machines, tmp_path):
    here, _ = machines
    assert 0 == here.build("two").exit_code
    code, document, _ = share(here, "push", str(tmp_path / "remote"), "forge.toml")
    assert (0, {"three": "never built"}, 2) == (code, document["missing"], document["records"]["sent"])


def test_a_dry_run_says_what_would_travel(machines, tmp_path):
    here, _ = machines
    here.build()
    said = here.forge("store", "push", str(tmp_path / "remote"), "--dry-run")
    assert (0, True, False) == (said.exit_code, "would be sent" in said.stdout, (tmp_path / "remote").exists())


def test_a_poisoned_remote_is_exit_code_4_and_the_rest_arrives(machines, tmp_path):
    here, there = machines
    url = tmp_path / "remote"
    first = here.build()
    share(here, "push", str(url))
    digest = first.steps["three"].outputs["both"]
    path = url / "objects" / digest[:2] / digest[2:]
    path.chmod(0o644)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    code, document, said = share(there, "pull", str(url), "forge.toml")
    assert (4, False, [digest]) == (code, document["ok"], [each["digest"] for each in document["refused"]])
    assert f"refused from the remote `{url}`: the object `{digest}` of `three` holds other bytes" in " ".join(
        said.split()
    )
    assert "forge store push --verify" in said
    assert HITS | {"three": "ran"} == there.build().statuses
    code, document, _ = share(here, "push", str(url), "--verify")
    assert (0, 1) == (code, document["objects"]["sent"])


def test_a_step_whose_record_is_refused_is_told_from_one_that_is_not_there(machines, tmp_path):
    here, there = machines
    here.build()
    share(here, "push", str(tmp_path / "remote"))
    key = here.build().steps["two"].key
    (tmp_path / "remote/actions" / key[:2] / f"{key[2:]}.json").write_text("{}")
    code, document, _ = share(there, "pull", str(tmp_path / "remote"), "forge.toml")
    assert (4, {"two": "refused", "three": "after `two`"}) == (code, document["missing"])
    assert {"raw": "hit", "two": "ran", "three": "ran"} == there.build().statuses


def test_a_folder_that_was_pushed_to_can_be_built_in(machines, tmp_path):
    here, there = machines
    here.build()
    share(here, "push", str(tmp_path / "remote"))
    there.environment["FORGE_STORE"] = str(tmp_path / "remote")
    assert HITS == there.build().statuses
    assert HITS | {"two": "ran", "three": "ran"} == there.build("--set", "word=b").statuses
    assert "no fault" in there.forge("store", "verify").stdout


def test_a_folder_is_collected_by_when_it_was_last_pulled_from(machines, tmp_path):
    here, there = machines
    url = tmp_path / "remote"
    here.build()
    share(here, "push", str(url))
    then = time.time() - 40 * 86400
    for path in url.rglob("*"):
        os.utime(path, (then, then))
    share(there, "pull", str(url), "forge.toml", "two")
    assert 0 == there.forge("store", "gc", "--keep-days", "30", "--store", str(url)).exit_code
    assert ["raw", "two"] == sorted(json.loads(p.read_bytes())["record"]["step"] for p in url.glob("actions/*/*"))
    shutil.rmtree(there.store)
    code, document, _ = share(there, "pull", str(url), "forge.toml")
    assert (0, ["three"]) == (code, list(document["missing"]))


def test_parameters_without_a_manifest_are_refused(machines, tmp_path):
    here, _ = machines
    here.build()
    for act in ("push", "pull"):
        code, _, said = share(here, act, str(tmp_path / "remote"), "--set", "word=b")
        assert (2, True) == (code, "`--set` needs a MANIFEST" in said)


def test_records_are_signed_where_a_key_is_shared(machines, tmp_path):
    here, there = machines
    url, key = str(tmp_path / "remote"), "0123456789abcdef0123456789abcdef"
    here.build()
    share(here, "push", url)
    there.environment["FORGE_REMOTE_KEY"] = key
    code, document, said = share(there, "pull", url)
    assert (4, 0, {"record"}) == (code, document["records"]["taken"], {r["kind"] for r in document["refused"]})
    assert ("is not signed" in said, key in said) == (True, False)
    here.environment["FORGE_REMOTE_KEY"] = key
    share(here, "push", url)
    assert 0 == share(there, "pull", url)[0]
    assert HITS == there.build(HF_TOKEN=key).statuses
    written = [
        p.read_bytes() for root in (here.root, there.root, tmp_path / "remote") for p in root.rglob("*") if p.is_file()
    ]
    assert not any(key.encode() in data for data in written)


@pytest.mark.slow  # the client asks again for a while
def test_a_server_that_is_gone_is_named(machines):
    here, _ = machines
    here.environment |= {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "the-id",
        "AWS_SECRET_ACCESS_KEY": "the-secret-of-s3",
    }
    here.build()
    for act in ("push", "pull"):
        code, _, said = share(here, act, "s3://bucket/path")
        assert (4, True) == (code, "the remote `s3://bucket/path`: EndpointConnectionError" in said), said
        assert "the-secret" not in said


def test_an_endpoint_may_be_named_to_fsspec(machines, bucket, s3_environment):
    here, _ = machines
    here.environment |= {"AWS_ENDPOINT_URL": None, "FSSPEC_S3_ENDPOINT_URL": s3_environment["AWS_ENDPOINT_URL"]}
    here.build()
    assert 0 == share(here, "push", f"s3://{bucket.name}")[0]
    assert {"format", "objects", "trees", "actions"} == {each.key.split("/")[0] for each in bucket.objects.all()}


# ---------------------------------------------------------------- killed

SLOWLY = """
    import os, time
    if "FORGE_TEST_SLOW" in os.environ:
        from forge.store import places
        for cls, name in [(c, n) for c in (places.Folder, places.Bucket) for n in ("put", "read")]:
            def slow(self, what, *rest, real=getattr(cls, name)):
                if what.startswith("objects/"):
                    time.sleep(0.05)
                return real(self, what, *rest)
            setattr(cls, name, slow)
    """


@pytest.fixture
def many(machines):
    """Build a step of forty files, and make transfers slow."""
    here, there = machines
    for project in (here, there):
        project.manifest(
            '[transforms.many]\nuse = "run.command"\n'
            'command = "for n in $(seq 40); do echo $n > $OUT/$n; done"\nfrom = "raw"\n'
            '[sources.raw]\nuse = "files.any"\npath = "raw.txt"\n'
        )
        project.write("plugins/sitecustomize.py", "\n".join(line[4:] for line in SLOWLY.splitlines()))
    assert 0 == here.build().exit_code
    return here, there


def killed(project, *arguments, count):
    """Start a command with slow transfers and kill it when *count* says that a third has travelled."""
    with project.start("store", *arguments, "--jobs", "2", FORGE_TEST_SLOW="1") as process:
        deadline = time.monotonic() + 60
        while count() < 13:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    return count()


@pytest.mark.slow
def test_a_push_and_a_pull_that_were_killed_go_on(many, url, request):
    here, there = many

    def arrived():
        if not url.startswith("s3:"):
            return len(list((request.getfixturevalue("tmp_path") / "remote/objects").glob("*/[!.]*")))
        return len(list(request.getfixturevalue("bucket").objects.filter(Prefix="forge/objects/")))

    before = killed(here, "push", url, count=arrived)
    assert 13 <= before < 41
    code, document, _ = share(here, "push", url)
    assert (0, 41 - before, before) == (code, document["objects"]["sent"], document["objects"]["there"])

    def taken():
        return len(list((there.store / "objects").glob("*/*")))

    before = killed(there, "pull", url, "forge.toml", count=taken)
    assert "no fault" in there.forge("store", "verify").stdout
    code, document, _ = share(there, "pull", url, "forge.toml")
    assert (0, 41 - before) == (code, document["objects"]["taken"])
    assert {"raw": "hit", "many": "hit"} == there.build().statuses


# ---------------------------------------------------------------- one store, several machines

HOST = """
    import os
    if "FORGE_TEST_HOST" in os.environ:
        system, _, *rest = os.uname()
        os.uname = lambda: os.uname_result((system, os.environ["FORGE_TEST_HOST"], *rest))
    """
SHARED = """
    [sources.raw]
    use = "files.any"
    path = "raw.txt"

    [transforms.slow]
    use = "run.command"
    from = "raw"
    command = "echo slow >> RUNS; while [ ! -e GO ]; do sleep 0.02; done; cat $1 > $OUT/slow"
    """


@pytest.fixture
def shared(tmp_path):
    """Give two machines, known by their host names, that build in one store."""
    found = []
    for name in ("alpha", "beta"):
        project = ForgeProject(tmp_path / name, {"FORGE_TEST_HOST": name, "FORGE_STORE": str(tmp_path / "shared")})
        project.write("plugins/sitecustomize.py", "\n".join(line[4:] for line in HOST.splitlines()))
        project.manifest(SHARED.replace("GO", str(tmp_path / "go")).replace("RUNS", str(tmp_path / "runs")))
        project.write("raw.txt", "raw")
        found.append(project)
    return found


def wait_for(path, seconds=30):
    deadline = time.monotonic() + seconds
    while not (found := list(path.parent.glob(path.name))):
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)
    return found[0]


def ended(process, timeout=60):
    try:
        out, said = process.communicate(timeout=timeout)
    finally:
        process.kill()
    assert 0 == process.returncode, said
    return {step["name"]: step["status"] for step in json.loads(out)["steps"]}


def test_two_machines_on_one_store_do_the_work_once(shared, tmp_path):
    alpha, beta = shared
    with alpha.start("build", "forge.toml", "--json") as first:
        wait_for(tmp_path / "runs")
        claim = next(p for p in (tmp_path / "shared/claims").glob("[!.]*") if p.read_text().startswith("alpha "))
        with beta.start("build", "forge.toml", "--json") as second:
            wait_for(tmp_path / f"shared/claims/.{claim.name}.*")
            time.sleep(0.5)  # beta looks at alpha's claim more than once
            (tmp_path / "go").touch()
            assert {"raw": "ran", "slow": "ran"} == ended(first)
            assert {"raw": "hit", "slow": "hit"} == ended(second)
    assert "slow\n" == (tmp_path / "runs").read_text()
    assert "no fault" in alpha.forge("store", "verify", "--store", str(tmp_path / "shared")).stdout


def test_the_work_of_a_machine_that_died_is_taken_over(shared, tmp_path):
    alpha, beta = shared
    with alpha.start("build", "forge.toml", "--json") as first:
        wait_for(tmp_path / "runs")
        first.kill()
    claim = next((tmp_path / "shared/claims").glob("[!.]*"))
    # its worker ends with it, but a machine that lost power takes nothing back
    claim.write_text("alpha 1 1")
    (tmp_path / "go").touch()
    with beta.start("build", "forge.toml", "--json") as second:
        wait_for(tmp_path / f"shared/claims/.{claim.name}.*")
        time.sleep(0.5)
        assert second.poll() is None, "beta took over while alpha's claim was fresh"
        then = time.time() - 90
        os.utime(claim, (then, then))
        assert {"raw": "hit", "slow": "ran"} == ended(second)
    assert [] == list((tmp_path / "shared/claims").iterdir())


def test_what_one_machine_built_is_a_hit_on_another(shared, tmp_path):
    alpha, beta = shared
    (tmp_path / "go").touch()
    assert 0 == alpha.build().exit_code
    assert {"raw": "hit", "slow": "hit"} == beta.build().statuses
    shutil.rmtree(alpha.root)
    assert {"raw": "hit", "slow": "hit"} == beta.build().statuses
