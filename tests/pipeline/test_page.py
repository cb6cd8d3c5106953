"""The page in a real browser, headless and without a network."""

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from pipeline.report.figures import FIGURES
from pipeline.report.style import GROUND
from tests.pipeline import made_kernels as kernels
from tests.pipeline import made_units as made
from tests.pipeline.test_tables import GROWN, Bench

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

METHODS = ["scratch", "fine-tune", "cl-lsg", "grow-target"]
COLOURS = """async link => {
  const picture = new Image();
  picture.src = link;
  await picture.decode();
  const canvas = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
  canvas.drawImage(picture, 0, 0);
  const data = canvas.getImageData(0, 0, picture.width, picture.height).data;
  const found = new Set();
  for (let at = 0; at < data.length; at += 4) found.add(data.slice(at, at + 4).join());
  return found.size;
}"""
"""How many colours a picture has."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two seeds with growth and decisions."""
    bench = Bench(tmp_path_factory.mktemp("report"))
    bench.seed(1)
    bench.seed(2, shift=-0.03)
    grown = bench.place("cl-lsg seed1")
    growth = {"channels_before": {"conv1": 3}, "channels_after": {"conv1": 5}, "released_share": 0.125}
    asked = {
        "question": "grow",
        "answer": True,
        "goal": 0.95,
        "split": "validation",
        "reason": "<below> & co",
    }
    for task, row in ((2, [0.84, 0.8]), (3, [0.86, 0.7, 0.75])):
        made.learn(grown, task, row, growth=growth, decisions=[{**asked, "value": row[-1]}])
    kernels.grow(grown)
    made.finish(grown)
    for seed in (1, 2):
        unit = bench.list("learned", made.begin(bench.runs, made.definition("grow-target", seed, [1, 2, 3])))
        for task, accuracies in enumerate(GROWN, 1):
            made.learn(unit, task, accuracies)
        made.finish(unit)
        kernels.log_growth(unit, 2)
    kernels.log_growth(grown, 2)
    return bench.tables()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def faults() -> list[str]:
    return []


@pytest.fixture
def page(browser: Browser, report: Path, faults: list[str]) -> Iterator[Page]:
    """The page as a desktop shows it; what the browser complains of and asks for goes to `faults`."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    opened.on("console", lambda message: faults.append(message.text))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "request", lambda request: faults.append(request.url) if "index.html" not in request.url else None
    )
    opened.goto((report / "index.html").as_uri())
    yield opened
    opened.close()


def words(page: Page, table: str, column: int) -> list[str]:
    return (
        page.locator(f"h2#{table} ~ .wide >> nth=0")
        .locator(f"tbody tr > :nth-child({column})")
        .all_inner_texts()
    )


def test_it_loads_nothing_and_complains_of_nothing(page: Page, faults: list[str]) -> None:
    assert page.title() == "digits: continual learning results"
    assert faults == []


def test_tables_and_figures_are_there_and_seen(page: Page) -> None:
    for name in ("summary", "accuracy", "size", "growth", "decisions", "units"):
        assert page.locator(f"h2#{name}").is_visible()
    assert page.locator("figure svg").count() == len(FIGURES)
    for name in FIGURES:
        box = page.locator(f"svg[aria-labelledby=figure-{name}]").bounding_box()
        assert box is not None, name
        assert box["width"] > 400
        assert box["height"] > 100
    assert page.locator("figure svg").get_by_text("cl-lsg").first.is_visible()
    assert words(page, "summary", 1) == METHODS
    assert page.locator("h2").first.inner_text() == "Summary"


def test_a_figure_stands_beside_its_table(page: Page) -> None:
    for name, (table, _) in FIGURES.items():
        section = page.locator(f"section[data-table={table}]")
        assert section.locator(f"svg[aria-labelledby=figure-{name}]").count() == 1


def test_pictures_within_figures_are_loaded(page: Page) -> None:
    picture = page.locator("svg[aria-labelledby=figure-owners] image").first
    box = picture.bounding_box()
    assert box is not None
    assert box["height"] > 50
    pixels = page.evaluate(COLOURS, picture.get_attribute("xlink:href") or picture.get_attribute("href"))
    assert pixels == 2


def test_headings_are_in_order_and_everything_has_a_name(page: Page) -> None:
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(deeper - level <= 1 for level, deeper in pairwise(levels))
    for name in FIGURES:
        figure = page.locator(f"svg[aria-labelledby=figure-{name}]")
        assert figure.get_attribute("role") == "img"
        for told in ("aria-labelledby", "aria-describedby"):
            place = figure.get_attribute(told)
            assert len(page.locator(f"#{place}").inner_text()) > 20
    for region in page.locator("[role=region]").all():
        assert region.get_attribute("aria-label") or region.get_attribute("aria-labelledby")


def test_the_result_is_said_first(page: Page) -> None:
    said = page.locator("section").first.locator("li").all_inner_texts()
    assert said[0].startswith("Highest average accuracy: scratch, 78.5")
    assert said[1].startswith("Smallest: cl-lsg") or said[1].startswith("Smallest: grow-target")
    assert "points below scratch, so not told apart, with 10 % of its weights" in said[2]


def test_a_number_of_one_task_leads_to_its_decisions(page: Page) -> None:
    row = page.get_by_role("region", name="Accuracy", exact=True).locator("tbody tr", has_text="cl-lsg")
    row.get_by_role("link").nth(2).click()
    task = page.locator("tr:target")
    assert task.is_visible()
    assert "grow: yes, 80.0 % on validation, goal 95.0 % (<below> & co)" in task.inner_text()
    task.get_by_role("link").click()
    assert page.locator("tr:target code").inner_text().startswith("digits/cl-lsg/seed1-")


def test_every_cell_of_a_run_leads_somewhere_and_those_without_a_run_nowhere(page: Page) -> None:
    for name in ("Summary", "Accuracy", "Model size", "Growth", "Decisions"):
        cells = page.get_by_role("region", name=name, exact=True).locator("tbody :is(td, th)")
        assert cells.count() == cells.locator("a").count() > 0, name
    claims = page.get_by_role("region", name="Claims of the paper", exact=True)
    assert claims.locator("tbody td").count() > 0
    assert claims.locator("tbody a").count() == 0


def test_it_prints_without_what_only_a_screen_needs(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    light = "rgb({}, {}, {})".format(*(int(GROUND.light[place : place + 2], 16) for place in (1, 3, 5)))
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light
    assert not page.get_by_role("navigation").is_visible()
    assert page.locator("h2#summary").is_visible()


def test_text_from_records_is_text(page: Page) -> None:
    assert page.get_by_role("cell", name="<below> & co").count() == 2


def test_a_column_is_sorted_by_its_numbers_both_ways_with_the_keyboard(page: Page) -> None:
    head = page.get_by_role("region", name="Summary", exact=True).get_by_role("columnheader", name="Average")
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert words(page, "summary", 1)[0] == "fine-tune"
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert words(page, "summary", 1)[0] == "scratch"


def test_a_number_leads_to_its_unit_and_parameters(page: Page) -> None:
    row = page.get_by_role("region", name="Decisions", exact=True).locator("tbody tr").first
    row.get_by_role("link").first.click()
    unit = page.locator("tr:target")
    assert unit.locator("code").inner_text().startswith("digits/cl-lsg/seed1-")
    parameters = unit.locator("pre")
    parameters.wait_for()  # the page opens them once it has seen the address change
    assert '"penalty": 0.0001' in parameters.inner_text()


def test_every_link_within_the_page_has_its_target(report: Path) -> None:
    text = (report / "index.html").read_text()
    found = _Tags()
    found.feed(text)
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)
    beside = {link for link in found.links if not link.startswith("#")}
    texts = {path.name for path in report.iterdir() if path.suffix in (".csv", ".json", ".md")}
    assert beside == texts | {f"figures/{path.name}" for path in (report / "figures").iterdir()}


def test_a_narrow_screen_scrolls_tables_not_the_page(browser: Browser, report: Path) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto((report / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    table = page.get_by_role("region", name="Decisions", exact=True)
    assert table.evaluate("box => box.scrollWidth > box.clientWidth")
    page.close()


def test_it_follows_the_reader_s_dark_setting(browser: Browser, report: Path) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto((report / "index.html").as_uri())
    dark = "rgb({}, {}, {})".format(*(int(GROUND.dark[place : place + 2], 16) for place in (1, 3, 5)))
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    patch = page.locator("figure svg [id$=patch_1] path").first
    assert patch.evaluate("path => getComputedStyle(path).fill") == dark
    page.close()


def test_without_scripts_everything_is_still_there(browser: Browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((report / "index.html").as_uri())
    assert page.locator("figure svg").count() == len(FIGURES)
    assert page.get_by_role("region", name="Summary", exact=True).locator("tbody tr").count() == len(METHODS)
    context.close()


def test_no_address_of_another_place_is_in_the_page(report: Path) -> None:
    text = (report / "index.html").read_text()
    assert not [address for address in re.findall(r"https?://[^\"' )]+", text) if "w3.org" not in address]


class _Tags(HTMLParser):
    """Ids and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [value] if (value := found.get("id")) else []
        self.links += [value] if tag == "a" and (value := found.get("href")) else []
