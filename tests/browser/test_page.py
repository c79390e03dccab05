"""The report's page in a real browser: as people use it, with and without a script, by eye, by ear and on paper."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from tests.audit import estate
from tests.browser.conftest import Open
from webhook.audit.report.figures import Report
from webhook.audit.report.page import BUDGET, render

EXACT = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}


def heard(page: Page) -> list[str]:
    return page.heard  # type: ignore[attr-defined, no-any-return]


def violations(page: Page) -> str:
    """What axe finds; empty when nothing."""
    results = Axe().run(page, options=EXACT)
    return "\n".join(
        f"{each['id']}: {each['help']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
        for each in results.response["violations"]
    )


def column(page: Page, table: str, at: int) -> list[str]:
    """The texts of a column in the order on the page, also of rows that are not shown."""
    found: list[str] = page.eval_on_selector_all(
        f"#{table} tbody tr", "(rows, at) => rows.map((row) => row.cells[at] ? row.cells[at].textContent : '')", at
    )
    return found


def shown(page: Page, table: str) -> int:
    return page.locator(f"#{table} tbody tr:visible").count()


@pytest.mark.parametrize(
    ("scheme", "script", "width"),
    [("light", True, 1280), ("dark", True, 390), ("light", False, 390), ("dark", False, 1280)],
)
def test_axe_finds_nothing(open_page: Open, scheme: str, script: bool, width: int) -> None:
    """In both colour schemes, wide and narrow; the page without a script is checked with its script cut out."""
    html = render(estate.report(workloads=60, teams=12))
    if not script:
        html = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    page = open_page(html, color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True)
    page.locator("details summary").click()
    assert violations(page) == ""


def test_nothing_is_asked_of_any_network(open_page: Open, html: str) -> None:
    """One file is all there is: no other request, no error, nothing that the page's own policy refused."""
    page = open_page(html)
    page.locator("#teams thead button").first.click()
    page.wait_for_timeout(300)
    assert heard(page) == []
    assert not re.search(
        r"(?:https?:)?//(?!www\.w3\.org)[a-z]", re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    )


def test_its_policy_lets_no_other_script_run(open_page: Open, html: str) -> None:
    """Were markup injected, its script would not run: the policy names the one that may by its hash."""
    attack = "<script>window.pwned=1</script><img src=x onerror=window.pwned=2><style>h1{display:none}</style>"
    page = open_page(html.replace("<main id=main>", f"<main id=main>{attack}"))
    page.wait_for_timeout(300)
    assert page.evaluate("window.pwned") is None
    expect(page.locator("h1")).to_be_visible()
    assert any("Content Security Policy" in each for each in heard(page))


def test_without_a_script_everything_is_there(open_page: Open, html: str, estate_report: Report) -> None:
    """Every team, policy, namespace and workload is visible, and nothing is offered that would not work."""
    page = open_page(html, java_script_enabled=False)
    assert page.locator("button, input").count() == 0
    for name, rows in (
        ("teams", estate_report.teams),
        ("policies", estate_report.policies),
        ("namespaces", estate_report.namespaces),
    ):
        assert shown(page, name) == len(rows)
    wanted = {each.title for each in estate_report.workloads if each.policies}
    found = page.locator("#workloads tbody tr:not(.g):visible td:first-child").all_text_contents()
    assert set(found) == wanted
    assert len(found) == estate_report.totals.workloads
    groups = page.locator("#workloads tr.g").count()
    assert groups == len({(each.namespace, each.owner) for each in estate_report.workloads if each.policies})


def test_with_a_script_no_row_is_lost(open_page: Open, html: str, estate_report: Report) -> None:
    """Groups become columns, long tables become short ones; all of it is one click away."""
    page = open_page(html)
    assert len(column(page, "workloads", 0)) == estate_report.totals.workloads
    places = set(zip(column(page, "workloads", 0), column(page, "workloads", 1), strict=True))
    assert places == {(each.title, each.namespace) for each in estate_report.workloads if each.policies}
    assert shown(page, "workloads") == 50
    tools = page.locator("#workloads-tools")
    tools.get_by_role("button", name=re.compile("Show all")).click()
    assert shown(page, "workloads") == estate_report.totals.workloads
    tools.get_by_role("button", name="Show fewer").click()
    assert shown(page, "workloads") == 50


@pytest.mark.parametrize(
    ("table", "head", "at"),
    [("teams", "Workloads", 1), ("teams", "Team", 0), ("workloads", "Last seen", 5), ("namespaces", "New", 3)],
)
def test_sorting(open_page: Open, html: str, table: str, head: str, at: int) -> None:
    """By number or by name, both ways, and it is said to those who do not see it."""
    page = open_page(html)
    button = page.locator(f"#{table} thead").get_by_role("button", name=head, exact=True)
    where = page.locator(f"#{table} thead th").nth(at)

    def key(text: str) -> tuple[float, list[object]]:
        number = text.replace(",", "")
        if number.isdigit():
            return float(number), []
        return -1.0, [int(each) if each.isdigit() else each.lower() for each in re.split(r"(\d+)", text) if each]

    orders = []
    for _ in range(2):
        button.click()
        texts = column(page, table, at)
        orders.append(where.get_attribute("aria-sort"))
        keys = [key(text) for text in texts if not text.startswith("(")]
        assert keys == sorted(keys, reverse=orders[-1] == "descending")
    assert sorted(map(str, orders)) == ["ascending", "descending"]
    assert page.locator(f"#{table} thead [aria-sort]").count() == 1


def test_severities_sort_by_how_bad_they_are(open_page: Open, html: str) -> None:
    """Not by letter: critical comes before high, then medium, low, info."""
    page = open_page(html)
    page.locator("#policies thead").get_by_role("button", name="Severity").click()
    texts = column(page, "policies", 1)
    order = ["critical", "high", "medium", "low", "info"]
    assert texts == sorted(texts, key=order.index)
    assert len(set(texts)) == len(order)


def test_filter_by_word_and_by_column(open_page: Open, html: str, estate_report: Report) -> None:
    """Words that all have to fit; `column:"value"` fits exactly; how many fit is announced."""
    page = open_page(html)
    team = next(each for each in estate_report.teams if each.name)
    field = page.get_by_label("Filter workloads")
    field.fill(f'team:"{team.name}"')
    assert shown(page, "workloads") == team.workloads
    expect(page.locator("#workloads-tools output")).to_have_text(re.compile(rf"\b{team.workloads} fit"))
    assert page.locator("#workloads-tools output").get_attribute("aria-live") == "polite"
    field.fill("cronjob image-tag-mutable")
    wanted = [
        each for each in estate_report.workloads if each.kind == "CronJob" and "image-tag-mutable" in each.policies
    ]
    assert wanted
    assert shown(page, "workloads") == min(len(wanted), 50)
    field.fill("no such thing anywhere")
    assert shown(page, "workloads") == 0
    field.fill("")
    assert shown(page, "workloads") == 50


def test_a_number_leads_to_its_workloads(open_page: Open, html: str, estate_report: Report) -> None:
    """By keyboard alone: the count of a team opens the list, filtered to it, with the focus on the filter."""
    page = open_page(html)
    team = next(each for each in estate_report.teams if each.name)
    button = page.get_by_role("button", name=f"Show the workloads of {team.name}: {team.workloads}", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    assert shown(page, "workloads") == team.workloads
    assert page.evaluate("document.activeElement.type") == "search"
    policy = estate_report.policies[0]
    page.get_by_role("button", name=f"Show the workloads of {policy.id}: {policy.workloads}", exact=True).click()
    expect(page.locator("#workloads-tools output")).to_have_text(re.compile(rf"\b{policy.workloads} fit"))


def test_focus_can_be_seen(open_page: Open, html: str) -> None:
    """What the keyboard is on has an outline, and the first stop leads past the head."""
    page = open_page(html)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the figures"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    for _ in range(3):
        page.keyboard.press("Tab")
        width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert width == "3px"


def test_dark_is_dark(open_page: Open, html: str) -> None:
    """By what the reader's system asks for, without a script."""
    backgrounds = [
        open_page(html, color_scheme=scheme, java_script_enabled=False).evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in ("light", "dark")
    ]
    assert backgrounds == ["rgb(255, 255, 255)", "rgb(17, 21, 26)"]


def test_nothing_moves_for_those_who_ask_for_it(open_page: Open, html: str) -> None:
    """`prefers-reduced-motion`."""
    moves = [
        open_page(html, reduced_motion=how).evaluate("getComputedStyle(document.documentElement).scrollBehavior")
        for how in ("no-preference", "reduce")
    ]
    assert moves == ["smooth", "auto"]


def test_it_never_scrolls_sideways_on_a_phone(open_page: Open, html: str) -> None:
    """Wide tables scroll in themselves, and can be reached by keyboard for it."""
    page = open_page(html, viewport={"width": 390, "height": 844}, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator(".scroll:not([tabindex])").count() == 0


def test_on_paper_everything_is_there(open_page: Open, html: str, estate_report: Report, tmp_path: Path) -> None:
    """Also what the screen shortened; without what paper cannot do; as a PDF of several pages."""
    page = open_page(html, media="print", color_scheme="dark")
    assert shown(page, "teams") == len(estate_report.teams)
    assert shown(page, "workloads") == estate_report.totals.workloads
    assert page.locator("nav:visible, input:visible").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 5


def test_hostile_names_are_only_names(open_page: Open) -> None:
    """Markup, terminal codes and bidirectional characters in every field: shown as text, none of it acts."""
    html = render(estate.hostile_report(), title=estate.hostile()[1], generated=estate.hostile()[2])
    page = open_page(html)
    for name in ("teams", "workloads", "policies", "namespaces"):
        page.locator(f"#{name} thead button").first.click()
        page.get_by_label(f"Filter {name}").fill("<script>")
        page.get_by_label(f"Filter {name}").fill("")
    assert page.evaluate("[...document.querySelectorAll('td button.to')].map((each) => each.click()).length") > 10
    page.wait_for_timeout(300)
    assert page.evaluate("window.pwned") is None
    assert heard(page) == []
    assert page.locator("script").count() == 1
    assert page.locator("img, main svg[onload], iframe, object, embed, form, link, base").count() == 0
    assert page.locator("a:not([href^='#'])").count() == 0
    text = page.evaluate("document.documentElement.textContent")
    assert "<script>window.pwned=1</script>" in text
    assert not [each for each in text if not each.isprintable() and each not in "\n"]
    assert violations(page) == ""


@pytest.fixture(scope="session")
def large() -> Report:
    """Ten thousand workloads of four hundred teams."""
    found = estate.report(workloads=12_300, teams=400)
    assert found.totals.workloads >= 10_000
    return found


def test_ten_thousand_workloads_are_one_megabyte(open_page: Open, large: Report) -> None:
    """Each of them is on the page; policies have short names until the script spells them out."""
    html = render(large)
    assert len(html.encode()) <= BUDGET
    page = open_page(html, java_script_enabled=False)
    assert page.locator("#workloads tbody tr:not(.g)").count() == large.totals.workloads
    keys = dict(each.split(" = ") for each in page.locator("#codes li").all_text_contents())
    assert set(keys.values()) == {each.id for each in large.policies}
    page = open_page(html)
    found = sorted(column(page, "workloads", 3))
    assert found == sorted(", ".join(each.policies) for each in large.workloads if each.policies)
    page.get_by_label("Filter workloads").fill(f'team:"{large.teams[0].name}"')
    assert heard(page) == []


def test_a_report_on_nothing_says_so(open_page: Open) -> None:
    """No table, no chart, no claim."""
    page = open_page(render(Report(window=None, new_since=None)))
    expect(page.locator("h1")).to_have_text("There is nothing in the log to judge by.")
    assert page.locator("table").count() == 0
    assert violations(page) == ""
    assert heard(page) == []
