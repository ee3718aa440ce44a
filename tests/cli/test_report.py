"""The report is one page that needs nothing else, holds what the store has, and reads well on any screen."""

import json
import re
import shutil

import pytest
from playwright.sync_api import sync_playwright

from forge.testing import ForgeProject

from .report_mill import MANIFEST, MILL

CHROMIUM = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
EVIL = "<script>alert('row')</script><img src=https://example.org/x.png onerror=alert(1)>"

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: `apt install chromium`")


def notes():
    for number in range(40):
        text = f"Note {number}: please call 1380000{number:04} about the {'long ' * (number % 9)}story."
        said = [{"role": "user", "text": text}, {"role": "assistant", "text": "That sounds hard. " * (1 + number % 7)}]
        topic = ("sleep", "exams", "family", "")[number % 4]
        yield {"id": f"n{number}", "topic": topic, "text": text, "weight": number / 7, "talk": said}
    yield {"id": "evil", "topic": EVIL, "text": EVIL * 8, "weight": None, "talk": [{"role": EVIL, "text": EVIL}]}
    yield {
        "id": "long",
        "topic": "x" * 120,
        "text": "字" * 900,
        "weight": 5.0,
        "talk": [{"role": "user", "text": "y" * 700}],
    }


def new_mill(root):
    """Give a project with a step of every kind, of which nothing is built."""
    project = ForgeProject(root)
    project.plugin("mill", MILL)
    lines = [json.dumps(note, ensure_ascii=False) for note in reversed(list(notes()))]
    project.write("notes.jsonl", "\n".join([*lines, "{broken <i>line</i>"]) + "\n")
    project.manifest(MANIFEST)
    return project


@pytest.fixture(scope="module")
def mill(tmp_path_factory):
    """Give a project that is built; what the tests do to it beyond that disturbs no other."""
    project = new_mill(tmp_path_factory.mktemp("mill"))
    built = project.build()
    assert built.exit_code == 0, built.stderr
    return project


@pytest.fixture(scope="module")
def page(mill):
    """Give the page of a whole build."""
    return report(mill)


def report(project, *arguments):
    done = project.forge("report", "forge.toml", "out/page.html", *arguments)
    assert done.exit_code == 0, done.stderr
    return (project.root / "out/page.html").read_text(encoding="utf-8")


def section(page, step):
    return re.search(
        rf'<section class="step[^>]*id="step-{step}".*?</section>\s*(?=<section class="step|</main>)', page, re.DOTALL
    )[0]


def test_rows_in_out_and_dropped_stand_beside_their_reasons_with_examples(page):
    mask = " ".join(re.sub(r"<[^>]+>", " ", section(page, "mask")).split())
    assert "in 42 out 32 dropped 10" in mask
    assert "no topic 10 24 % 3 examples" in mask
    assert re.search(r"Left out inside rows \d+ number masked", mask)
    notes = section(page, "notes")
    assert "not JSON" in notes
    assert "notes.jsonl:43 {broken &lt;i&gt;line&lt;/i&gt;" in notes


def test_show_says_the_same_of_rows(mill):
    shown = mill.forge("show", "forge.toml", "mask", "--rows", "0").stdout
    assert "42 rows in, 32 rows out\n  10 dropped: no topic\n" in shown
    assert 3 == shown.count('"topic": ""')
    assert "32 rows in" in mill.forge("show", "forge.toml", "fit").stdout


def test_what_a_row_holds_is_text_and_never_markup(page):
    assert "&lt;script&gt;alert(" in page
    assert "<script" not in page
    assert "<img src=https" not in page
    assert "mill &lt;b&gt;one&lt;/b&gt; &amp; two" in page


def test_a_step_that_changes_text_shows_it_before_and_after(page):
    mask = section(page, "mask")
    assert re.search(r"<del>1380000\d+</del><ins>\[PHONE\]</ins>", mask)


def test_curves_receipts_pictures_and_digests_are_there(page):
    fit = section(page, "fit")
    assert fit.count("<polyline") == 3  # the loss, its evaluation, the learning rate
    assert "data:image/png;base64," in fit
    assert "learned nothing" in fit
    receipt = section(page, "receipt")
    assert re.search(r"json valid.*?0\.75.*?0\.5.*?✓ yes", receipt, re.DOTALL)
    assert "&lt;b&gt;who&lt;/b&gt;?" in receipt
    assert re.search(r"student-Q4_K_M\.gguf.*?<code[^>]*>[0-9a-f]{64}<", section(page, "gguf"), re.DOTALL)


def test_what_a_run_wrote_beside_its_log_is_drawn_too(mill, page):
    key = json.loads(mill.forge("show", "forge.toml", "fit", "--json").stdout)["key"]
    folder = mill.store / "logs" / key
    folder.mkdir()
    points = [{"step": step, "loss": 9.0, "tokens_per_second": 100 + step} for step in (1, 2, 3, 2)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    fit = section(report(mill), "fit")
    (folder / "metrics.jsonl").unlink()
    assert fit.count("<polyline") == section(page, "fit").count("<polyline") + 1
    assert re.search(r'class="what">tokens per second<.*?101 → 103', fit, re.DOTALL)


def test_labels_are_counted(page):
    tile = re.search(r"<h5>level</h5>.*?</section>", section(page, "mood"), re.DOTALL)[0]
    counts = [int(n) for n in re.findall(r'class="count">(\d+) ', tile)]
    assert sum(counts) == 32


def test_the_same_store_gives_the_same_page(mill, page):
    assert report(mill) == page


def test_nothing_of_this_machine_is_in_the_page(mill, page):
    assert str(mill.root) not in page
    assert "http" not in re.sub(r"&lt;img src=https?://example\.org/", "", re.sub('http-equiv="', "", page))


def test_before_a_build_the_page_says_so(tmp_path):
    page = report(new_mill(tmp_path))
    assert page.count("Not built yet") == 7
    assert "Flow of rows" not in page


def test_a_failed_check_shows_its_receipt(mill):
    assert mill.build("--set", "receipt.least=0.9").exit_code == 1
    receipt = section(report(mill, "--set", "receipt.least=0.9"), "receipt")
    assert "✕ failed" in receipt
    assert re.search(r"json valid.*?0\.75.*?0\.9.*?✕ no", receipt, re.DOTALL)


def test_a_stale_step_shows_its_last_run_and_why_it_would_run_again(mill, page):
    mask = section(report(mill, "--set", "mask.mark=(number)"), "mask")
    assert "it would run again" in mask
    assert "[PHONE]" in mask


def test_damaged_files_are_named_and_end_nothing(tmp_path):
    project = new_mill(tmp_path)
    assert project.build().exit_code == 0
    outputs = json.loads(project.forge("build", "forge.toml", "--json").stdout)["steps"]
    for step, member in (("mask", "rows.arrow"), ("fit", "metrics.json")):
        [digest] = [s["outputs"][member] for s in outputs if s["name"] == step]
        path = project.store / "objects" / digest[:2] / digest[2:]
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[::-1])
    page = report(project)
    assert "These could not be read: rows.arrow." in section(page, "mask")
    assert "These could not be read: metrics.json." in section(page, "fit")
    assert "<polyline" in section(page, "fit")


def test_a_file_of_somebody_else_is_not_written_over(mill):
    mill.write("mine.html", "<p>mine")
    done = mill.forge("report", "forge.toml", "mine.html")
    assert done.exit_code == 2
    assert "`mine.html` is there already and is no report" in done.stderr
    assert mill.forge("report", "forge.toml", "mine.html", "--force").exit_code == 0
    assert mill.forge("report", "forge.toml", "mine.html").exit_code == 0


def test_without_a_name_the_page_is_called_after_the_manifest(mill):
    done = mill.forge("report", "forge.toml")
    assert done.exit_code == 0
    assert done.stdout.endswith("→ mill__b_one__b____two.html\n")
    assert (mill.root / "mill__b_one__b____two.html").exists()


LAID_OUT = """() => {
  const wrong = [];
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) wrong.push(`the page is ${root.scrollWidth} wide of ${innerWidth}`);
  for (const element of document.body.querySelectorAll('*')) {
    if (!element.checkVisibility() || element instanceof SVGElement) continue;
    const name = `${element.tagName}.${element.className} ${element.textContent.trim().slice(0, 40)}`;
    const style = getComputedStyle(element);
    const cut = (way) => way === 'hidden' || way === 'clip';
    if (cut(style.overflowX) && element.scrollWidth > element.clientWidth + 1) wrong.push(`cut off: ${name}`);
    if (cut(style.overflowY) && element.scrollHeight > element.clientHeight + 1) wrong.push(`cut below: ${name}`);
    const box = element.getBoundingClientRect();
    if (box.right > innerWidth + 1 && !element.closest('.scroll')) wrong.push(`beyond the edge: ${name}`);
  }
  for (const link of document.querySelectorAll('a[href^="#"]'))
    if (!document.getElementById(link.getAttribute('href').slice(1))) wrong.push(`leads nowhere: ${link.outerHTML}`);
  return [...new Set(wrong)];
}"""

CONTRAST = """() => {
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
  };
  const faint = new Set();
  for (const element of document.body.querySelectorAll('*')) {
    if (!element.checkVisibility() || element instanceof SVGElement) continue;
    if (![...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const pair = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) faint.add(`${ratio.toFixed(2)} ${element.tagName}.${element.className}`);
  }
  return [...faint];
}"""


@pytest.fixture(scope="module")
def swept(mill):
    """Give the page of a sweep of more training runs than have a colour each."""
    mill.manifest(MANIFEST + SWEEP, "swept.toml")
    built = mill.forge("build", "swept.toml", "--json")
    assert built.exit_code == 0, built.stderr
    assert mill.forge("report", "swept.toml", "out/swept.html").exit_code == 0
    return (mill.root / "out/swept.html").read_text(encoding="utf-8")


SWEEP = """
    [trainers.fit.sweep]
    steps = [10, 20, 30]
    slope = [0.5, 0.4, 0.3]
    lowest = "loss"
    """


def test_the_runs_of_a_sweep_stand_in_one_picture_for_each_figure(swept):
    part = swept[swept.index("Sweep of fit") : swept.index('<section class="step')]
    assert re.findall(r'class="what">([^<]+)<', part) == ["eval loss", "loss", "learning rate"]
    assert part.count("<polyline") == 3 * 8
    assert "of the first 8 runs, the best first; 1 more are in the steps below" in part
    assert part.count(">the best</a>") == 1
    assert re.search(r"steps 30, slope 0\.5: ", part)


@needs_chromium
@pytest.mark.parametrize("name", ["page", "swept"])
def test_in_a_browser_it_fits_any_screen_in_light_and_dark_and_asks_for_nothing(mill, page, swept, name):
    assert page != swept
    path = mill.root / f"out/{name}.html"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shades = set()
        for width in (360, 1280):
            for scheme in ("light", "dark"):
                context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
                opened = context.new_page()
                heard, asked = [], []
                opened.on("console", lambda message, heard=heard: heard.append(message.text))
                opened.on("pageerror", lambda error, heard=heard: heard.append(str(error)))
                opened.on("request", lambda request, asked=asked: asked.append(request.url))
                opened.goto(path.as_uri())
                shown = (width, scheme)
                assert (shown, opened.evaluate(LAID_OUT)) == (shown, [])
                opened.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
                assert (shown, opened.evaluate(LAID_OUT)) == (shown, [])
                assert (shown, opened.evaluate(CONTRAST)) == (shown, [])
                assert (shown, heard) == (shown, [])
                assert asked == [path.as_uri()]
                shades.add(opened.evaluate("getComputedStyle(document.body).backgroundColor"))
                context.close()
        browser.close()
    assert len(shades) == 2
