"""The built site, as a browser shows it: on a desk, in the dark, on a phone, and from a disk.

`make test` builds the site first. SITE=path checks another copy, such as a deployed one.
"""

import functools
import http.server
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
SITE = Path(os.environ.get("SITE", ROOT / "_build/html")).resolve()
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# A browser that asks nothing of the network on its own account.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MODES = {
    "desk": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 780}, "color_scheme": "light"},
}
LEDGER = "chapters/ledger.html"
LIBRARY = "chapters/library.html"


def html_pages(site: Path) -> list[str]:
    """Every page that a reader can stay on: no parts of pages, no redirections."""
    files = sorted(site.rglob("*.html"))
    kept = [
        f for f in files if "_static" not in f.parts and "http-equiv" not in f.read_text("utf-8")
    ]
    return [file.relative_to(site).as_posix() for file in kept]


PAGES = html_pages(SITE)


def test_the_site_is_built():
    assert LEDGER in PAGES, f"{SITE} holds no built book: run `make book` first"


# --- a browser, a server, and one visit of each page in each mode


@dataclass
class View:
    """An open page, and what the browser reported while it loaded."""

    page: Page
    base: str
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", lambda request: self.faults.append(f"failed: {request.url}"))
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        self.page.on("console", self._hear)

    def _hear(self, message) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text} {message.location.get('url', '')}")

    def open(self, name: str) -> None:
        """Load a page and wait until its mathematics and its fonts are there."""
        self.page.goto(self.base + name)
        self.page.evaluate("() => window.MathJax?.startup?.promise?.then(() => null)")
        self.page.evaluate("() => document.fonts.ready.then(() => null)")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and keeps silent."""

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(SITE))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


def new_view(browser: Browser, base: str, **options) -> View:
    context = browser.new_context(**options)
    context.route(re.compile(r"^(?!http://127\.0\.0\.1|file:|data:|blob:)"), lambda r: r.abort())
    context.set_default_timeout(20_000)
    return View(context.new_page(), base)


@pytest.fixture(scope="module", params=[(p, m) for m in MODES for p in PAGES], ids="-".join)
def view(request, browser, base) -> Iterator[View]:
    name, mode = request.param
    view = new_view(browser, base, **MODES[mode])
    view.watch()
    view.open(name)
    yield view
    view.page.context.close()


def test_a_page_loads_without_a_fault(view):
    assert view.faults == []


def test_no_request_leaves_the_machine(view):
    assert [url for url in view.requests if not url.startswith((view.base, "data:", "blob:"))] == []


RAW_MATHEMATICS = r"""() => {
  const article = (document.querySelector("article") ?? document.body).cloneNode(true);
  article.querySelectorAll("pre, code, script, mjx-container").forEach((part) => part.remove());
  return article.textContent.match(/.{0,30}(\\[\(\[]|\$).{0,30}/g) ?? [];
}"""


def test_mathematics_is_rendered(view):
    assert view.page.evaluate(RAW_MATHEMATICS) == []
    assert view.page.locator("mjx-merror").count() == 0
    assert view.page.locator(".math:not(:has(mjx-container))").count() == 0


STICKS_OUT = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const out = (element) => element.getBoundingClientRect().right > width + 1;
  return [...document.querySelectorAll("body *")].filter(out).map((e) => e.outerHTML.slice(0, 99));
}"""


def test_the_page_does_not_scroll_sideways(view):
    assert view.page.evaluate(STICKS_OUT)[:5] == []


# Marks that touch a formula or a status, and stand on another line than it.
STRAY_MARKS = r"""() => [...document.querySelectorAll("article :is(span.math, a.status)")].filter(
  (inline) => {
    const box = inline.getBoundingClientRect(), range = document.createRange();
    const place = (text, at) => {
      range.setStart(text, at);
      range.setEnd(text, at + 1);
      return range.getBoundingClientRect();
    };
    const [before, after] = [inline.previousSibling, inline.nextSibling];
    if (!box.width) return false;
    if (/^[.,;:!?)\]]/.test(after?.data) && place(after, 0).left < box.right - 2) return true;
    return /[(\[]$/.test(before?.data) && place(before, before.length - 1).right > box.left + 2;
  }).map((inline) => inline.parentElement.textContent.slice(0, 80))"""


def test_no_mark_is_parted_from_its_formula(view):
    assert view.page.evaluate(STRAY_MARKS) == []


# Ends of inline formulas that no scrolling brings into view.
CUT_OFF = """() => [...document.querySelectorAll("article span.math mjx-math")].filter((drawn) => {
  const box = drawn.closest(".wide") ?? drawn.closest("p, li, td, th, dd, div");
  box.scrollLeft = box.scrollWidth;
  return drawn.getBoundingClientRect().right > box.getBoundingClientRect().right + 1;
}).map((drawn) => drawn.closest("p, li, td, th, dd, div").textContent.slice(0, 80))"""


def test_every_formula_can_be_read_to_its_end(view):
    assert view.page.evaluate(CUT_OFF) == []


def test_every_fold_is_named_by_its_words(view):
    folds = view.page.locator("article summary, article .toggle-button")
    names = folds.evaluate_all("all => all.map((f) => f.ariaLabel ?? f.innerText)")
    assert not {"", "Toggle hidden content"}.intersection(map(str.strip, names))


BROKEN_IMAGES = """() => [...document.images]
  .filter((image) => !image.complete || !image.naturalWidth).map((image) => image.src)"""


def test_every_image_is_there(view):
    assert view.page.evaluate(BROKEN_IMAGES) == []


def undescribed(page: Page) -> list[str]:
    """Sources of content images whose alternative text is missing or a file name."""
    images = page.locator("article img").evaluate_all("all => all.map((i) => [i.src, i.alt])")
    return [src for src, alt in images if len(alt) < 10 or re.search(r"\.\w{3,4}$|^\S+$", alt)]


def test_every_figure_is_described(view):
    assert undescribed(view.page) == []


# axe looks at every element, and a chapter has twenty thousand. A formula is glyphs drawn by
# styles, so a box of its size stands for it; one token of each class stands for all of its kind.
THIN_OUT = """() => {
  for (const formula of document.querySelectorAll("mjx-math")) {
    const box = document.createElement("span"), { width, height } = formula.getBoundingClientRect();
    box.style.cssText = `display: inline-block; width: ${width}px; height: ${height}px`;
    formula.replaceWith(box);
  }
  const seen = new Set();
  for (const token of document.querySelectorAll("pre span, code span, dt span")) {
    if (seen.has(token.className)) token.replaceWith(...token.childNodes);
    seen.add(token.className);
  }
}"""
# Without a second download of the style sheets, which serves one rule, about turned screens.
OPTIONS = {"resultTypes": ["violations"], "preload": False}


def violations(page: Page) -> list[str]:
    """What axe finds, each with the first element that it names; the page is thinned out."""
    page.evaluate(THIN_OUT)
    found = Axe().run(page, options=OPTIONS).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found]


def test_the_page_is_accessible(view):
    assert violations(view.page) == []


def test_dark_mode_follows_the_reader(browser, base):
    view = new_view(browser, base, **MODES["dark"])
    view.open(LEDGER)
    assert view.page.evaluate("document.documentElement.dataset.theme") == "dark"
    view.page.context.close()


# --- the checks above can fail


@pytest.fixture
def desk(browser, base) -> Iterator[View]:
    view = new_view(browser, base, **MODES["desk"])
    view.watch()
    yield view
    view.page.context.close()


def test_planted_faults_are_found(desk):
    desk.page.goto(desk.base + "search.html")
    desk.page.set_content(
        "<html lang='en'><article>costs \\(x\\) <img src='/no.png' alt='no.png'>"
        "<button></button><div style='width:3000px'>wide</div>"
        "<script src='https://example.org/a.js'></script><script>oops()</script></article></html>"
    )
    assert desk.page.evaluate(RAW_MATHEMATICS) == ["costs \\(x\\) wide"]
    assert len(desk.page.evaluate(STICKS_OUT)) >= 1
    assert desk.page.evaluate(BROKEN_IMAGES) == [desk.base + "no.png"]
    assert undescribed(desk.page) == [desk.base + "no.png"]
    assert any(v.startswith("button-name") for v in violations(desk.page))
    assert "https://example.org/a.js" in desk.requests
    assert any("oops is not defined" in fault for fault in desk.faults)


# --- links, without a browser


LOADERS = ("script", "img", "iframe", "source", "video")


class Links(HTMLParser):
    """The ids of a page, where it points, and what it loads."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if values.get("id") else []
        if tag == "a" and "href" in values:
            self.targets.append(values["href"])
        if tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload"):
            self.loads.append(values.get("href", ""))
        if tag in LOADERS and values.get("src"):
            self.loads.append(values["src"])


def is_external(target: str) -> bool:
    return bool(urlsplit(target).scheme or urlsplit(target).netloc)


def broken(site: Path) -> list[str]:
    """Internal links to nothing, double ids, and files that would come from elsewhere."""
    files = [f for f in site.rglob("*.html") if "_static" not in f.parts]
    pages = {file.resolve(): Links(file.read_text("utf-8")) for file in files}
    faults = []
    for file, page in pages.items():
        name = file.relative_to(site.resolve())
        faults += [f"{name}: two elements have the id {i}" for i in doubles(page.ids)]
        faults += [f"{name}: loads {load}" for load in page.loads if is_outside(load)]
        inside = [t for t in page.targets + page.loads if not is_external(t)]
        faults += [f"{name}: no {target}" for target in inside if not resolves(file, target, pages)]
    return faults


def doubles(ids: list[str]) -> list[str]:
    return sorted({i for i in ids if ids.count(i) > 1})


def is_outside(target: str) -> bool:
    return is_external(target) and not target.startswith("data:")


def resolves(file: Path, target: str, pages: dict[Path, Links]) -> bool:
    parts = urlsplit(target)
    goal = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if not goal.is_file():
        return False
    fragment = unquote(parts.fragment)
    return not fragment or goal not in pages or fragment in pages[goal].ids


def test_every_internal_link_leads_somewhere():
    assert broken(SITE) == []


def test_the_link_check_finds_planted_faults(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="x"><b id="x"></b><a href="b.html?q=1#y">fine</a><a href="c.html">no file</a>'
        '<a href="b.html#z">no fragment</a><a href="#nowhere">none here</a>'
        '<a href="https://example.org">fine</a><script src="https://example.org/a.js"></script>'
    )
    (tmp_path / "b.html").write_text('<p id="y">')
    assert broken(tmp_path) == [
        "a.html: two elements have the id x",
        "a.html: loads https://example.org/a.js",
        "a.html: no c.html",
        "a.html: no b.html#z",
        "a.html: no #nowhere",
    ]


def test_no_page_names_the_folder_it_was_built_in():
    named = [f for f in SITE.rglob("*") if f.suffix in (".html", ".json", ".js", ".xml")]
    assert [f for f in named if str(ROOT) in f.read_text("utf-8")] == []


# --- the ledger


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return json.loads((SITE / "ledger.json").read_text("utf-8"))["rows"]


@pytest.fixture
def ledger(desk) -> View:
    desk.open(LEDGER)
    return desk


def shown(view: View) -> set[str]:
    ids = view.page.locator("table.ledger tbody:visible").evaluate_all(
        "all => all.map((b) => b.id)"
    )
    return {name.removeprefix("row-") for name in ids}


def counted(view: View) -> str:
    return view.page.locator("#ledger-filters output").inner_text()


def every(rows: list[dict]) -> set[str]:
    return {row["id"] for row in rows}


def test_no_graph_is_taller_than_a_phone(browser, base):
    view = new_view(browser, base, **MODES["phone"])
    view.open(LEDGER)
    tall = view.page.locator(".graph-box").evaluate_all("all => all.map((b) => b.clientHeight)")
    assert 0 < max(tall) <= MODES["phone"]["viewport"]["height"]
    view.page.context.close()


def test_without_scripts_the_full_table_stands(browser, base, rows):
    view = new_view(browser, base, java_script_enabled=False)
    view.page.goto(base + LEDGER)
    assert shown(view) == every(rows)
    assert not view.page.locator("#ledger-filters").is_visible()
    view.page.context.close()


@pytest.mark.parametrize(
    ("name", "key"), [("kind", "status"), ("paper", "paper"), ("source", "source")]
)
def test_a_filter_leaves_the_rows_it_names(ledger, rows, name, key):
    for value in sorted({row[key] for row in rows}):
        ledger.page.select_option(f"select[name={name}]", value)
        wanted = {row["id"] for row in rows if row[key] == value}
        assert shown(ledger) == wanted
        assert counted(ledger) == f"{len(wanted)} of {len(rows)} statements"
        assert ledger.page.url.endswith(f"?{name}={value}")


def test_a_filter_by_what_was_checked(ledger, rows):
    ledger.page.select_option("select[name=extent]", "none")
    assert shown(ledger) == {row["id"] for row in rows if not row["checks"]}


def test_words_are_searched_and_forgotten(ledger, rows):
    ledger.page.fill("input[name=words]", f"{rows[0]['id'].upper()} {rows[0]['title'].split()[0]}")
    assert rows[0]["id"] in shown(ledger)
    ledger.page.fill("input[name=words]", "no statement has these words")
    assert shown(ledger) == set()
    assert not ledger.page.locator(".ledger-chapter").first.is_visible()
    ledger.page.click("button[type=reset]")
    ledger.page.wait_for_function("() => !location.search")
    assert shown(ledger) == every(rows)


def test_the_address_brings_the_filter_back(ledger, rows):
    status = rows[-1]["status"]
    ledger.open(f"{LEDGER}?kind={status}&words={rows[-1]['id']}")
    assert rows[-1]["id"] in shown(ledger)
    assert all(status == row["status"] for row in rows if row["id"] in shown(ledger))
    assert ledger.page.input_value("input[name=words]") == rows[-1]["id"]


def test_a_link_to_a_row_never_leads_to_a_hidden_one(ledger, rows):
    ledger.open(f"{LEDGER}?words=nothing-has-this#row-{rows[0]['id']}")
    assert rows[0]["id"] in shown(ledger)


def test_a_badge_leads_to_its_row_and_the_row_back(desk, rows):
    row = rows[0]
    desk.open(f"{row['chapter']}.html")
    desk.page.click(f"#status-{row['id']}")
    desk.page.wait_for_url(f"**/{LEDGER}#row-{row['id']}")
    assert desk.page.locator(f"#row-{row['id']}").is_visible()
    desk.page.click(f"#row-{row['id']} .ledger-title a")
    desk.page.wait_for_url(f"**/{row['chapter']}.html#status-{row['id']}")


def test_the_graph_names_every_row_and_leads_to_it(ledger, rows):
    links = ledger.page.locator("svg.graph a:not(.foreign)")
    assert set(links.evaluate_all("all => all.map((a) => a.getAttribute('href'))")) == {
        f"#row-{row['id']}" for row in rows
    }
    links.first.focus()
    ledger.page.keyboard.press("Enter")
    ledger.page.wait_for_function("() => location.hash.startsWith('#row-')")


@pytest.mark.parametrize("name", sorted({"chapters/index.html", LEDGER} & set(PAGES)))
def test_the_site_reads_from_a_disk(browser, name):
    view = new_view(browser, SITE.as_uri() + "/", **MODES["desk"])
    view.watch()
    view.open(name)
    assert view.faults == []
    assert view.page.evaluate(RAW_MATHEMATICS) == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in view.requests)
    view.page.context.close()


def test_the_filter_works_from_a_disk(browser, rows):
    view = new_view(browser, SITE.as_uri() + "/", **MODES["desk"])
    view.open(LEDGER)
    view.page.fill("input[name=words]", rows[0]["id"])
    assert rows[0]["id"] in shown(view)
    assert view.page.url.endswith(f"?words={rows[0]['id']}")
    view.page.context.close()


def test_paper_shows_the_rows_and_not_the_filters(ledger, rows):
    ledger.page.emulate_media(media="print")
    assert shown(ledger) == every(rows)
    assert not ledger.page.locator("#ledger-filters").is_visible()


def test_search_finds_a_statement(desk, rows):
    word = max(re.findall(r"[A-Za-z]{5,}", rows[0]["title"]), key=len)
    desk.open(f"search.html?q={word}")
    desk.page.wait_for_selector("#search-results li a")
    assert desk.faults == []


def test_search_finds_a_function_and_leads_to_it(desk):
    desk.open("search.html?q=critical_sigma_w2")
    desk.page.click(f"#search-results a[href*='{LIBRARY}#lib.ntk.critical_sigma_w2']")
    desk.page.wait_for_url(f"**/{LIBRARY}#lib.ntk.critical_sigma_w2")
    assert desk.page.locator("dt:target .sig-name").inner_text() == "critical_sigma_w2"
    assert desk.faults == []


def test_a_slider_moves_its_lines_and_its_words_by_the_keyboard(desk):
    desk.open("chapters/ntk-trainability.html")
    frames = desk.page.locator(".frames")
    knob, words = frames.locator("input[type=range]"), frames.locator("output")
    lines = frames.locator("g[id*='-line-'] path")

    def seen() -> tuple[list[str], str]:
        drawn = lines.evaluate_all("all => all.map((path) => path.getAttribute('d'))")
        return drawn, words.inner_text()

    start, places = seen(), {}
    for key in ("Home", "ArrowRight", "End"):
        knob.press(key)
        places[key] = seen()
        assert knob.get_attribute("aria-valuetext") == places[key][1]
    assert len(start[0]) >= 2
    for one, other in pairwise([start, *places.values()]):
        assert one[1] != other[1]
        assert all(a != b for a, b in zip(one[0], other[0], strict=True))
    for _ in range(int(knob.get_attribute("max")) // 2):  # it began in the middle
        knob.press("ArrowLeft")
    assert seen() == start
    assert desk.faults == []
