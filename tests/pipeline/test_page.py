"""The page in a real browser, headless and without a network."""

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from pipeline.report.style import GROUND
from tests.pipeline import made_units as made
from tests.pipeline.test_tables import Bench

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

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
    figures = page.locator("figure svg")
    assert figures.count() == 3
    for place in range(3):
        box = figures.nth(place).bounding_box()
        assert box is not None
        assert box["width"] > 400
        assert box["height"] > 150
    assert page.locator("figure svg").get_by_text("cl-lsg").first.is_visible()
    assert words(page, "summary", 1) == ["scratch", "fine-tune", "cl-lsg"]
    assert page.locator("h2").first.inner_text() == "Summary"


def test_text_from_records_is_text(page: Page) -> None:
    assert page.get_by_role("cell", name="<below> & co").count() == 2


def test_a_column_is_sorted_by_its_numbers_both_ways_with_the_keyboard(page: Page) -> None:
    head = page.get_by_role("region", name="Summary", exact=True).get_by_role("columnheader", name="Average")
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert words(page, "summary", 1) == ["fine-tune", "cl-lsg", "scratch"]
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert words(page, "summary", 1) == ["scratch", "cl-lsg", "fine-tune"]


def test_a_number_leads_to_its_unit_and_parameters(page: Page) -> None:
    row = page.get_by_role("region", name="Decisions", exact=True).locator("tbody tr").first
    row.get_by_role("link").click()
    unit = page.locator("tr:target")
    assert unit.locator("code").inner_text().startswith("digits/cl-lsg/seed1-")
    assert '"penalty": 0.0001' in unit.locator("pre").inner_text()


def test_every_link_within_the_page_has_its_target(report: Path) -> None:
    text = (report / "index.html").read_text()
    found = _Tags()
    found.feed(text)
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)
    beside = {link for link in found.links if not link.startswith("#")}
    assert beside == {path.name for path in report.iterdir() if path.suffix in (".csv", ".json", ".md")}


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
    assert page.locator("figure svg").count() == 3
    assert page.get_by_role("region", name="Summary", exact=True).locator("tbody tr").count() == 3
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
