"""The page in a real browser: what is drawn, what choices change, and who can use it.

Skipped without Chromium or Playwright, unless NEEDS_CHROMIUM is set.
"""

import csv
import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import made_studies
import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy import stats

from sdd.analysis.collected import chains, curve, spent
from sdd.analysis.descent import phases
from sdd.analysis.paper import Method, read_off

REWOUND = Method(retraining="weight-rewinding")  # as He et al. do
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
DRAWN = "Number(document.body.dataset.drawn ?? 0)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    missing = [] if path else ["chromium"]
    if not find_spec("playwright"):
        missing.append("playwright")
    if missing:
        complain = pytest.fail if os.environ.get("NEEDS_CHROMIUM") else pytest.skip
        complain(
            f"{', '.join(missing)} not found. Install Chromium (Debian: chromium) and "
            "envs/requirements.txt."
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Root, as in a container, has no sandbox.
        sandbox = os.geteuid() != 0
        one = playwright.chromium.launch(executable_path=path, chromium_sandbox=sandbox)
        yield one
        one.close()


@pytest.fixture(scope="module")
def opened(browser) -> Iterator[Callable[..., "Page"]]:
    """Opens a page in a window of its own, which must say nothing on its console."""
    said: list[str] = []
    windows = []

    def open(made: made_studies.Made, hash: str = "", **window: Any) -> Page:
        context = browser.new_context(**({"viewport": WIDE} | window))
        windows.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on(
            "request",
            lambda r: said.append(r.url) if not r.url.startswith(("file:", "blob:")) else 0,
        )
        page.set_default_timeout(10_000)
        page.goto(f"{made.page.as_uri()}{hash}")
        one = Page(page, made)
        one.drawn_since(0)
        return one

    yield open
    for context in windows:
        context.close()
    assert said == []


class Page:
    """What a test asks of an open page."""

    def __init__(self, page: Any, made: made_studies.Made) -> None:
        self.page, self.made = page, made

    def traces(self, section: str) -> list[dict[str, Any]]:
        """Of a plot: what Plotly was given to draw."""
        return self.page.evaluate(
            f"document.querySelector('#{section} .plot').data.map(trace => ({{name: trace.name, "
            "mode: trace.mode, x: [...trace.x], y: [...trace.y], fill: trace.fill, "
            "rows: trace.customdata, look: [trace.line?.color, trace.line?.dash, "
            "trace.marker?.symbol]}))"
        )

    def drawn_since(self, before: int) -> None:
        """Waits until it is; Playwright's own wait needs what the page's policy forbids."""
        deadline = time.monotonic() + 20
        while self.page.evaluate(DRAWN) <= before:
            assert time.monotonic() < deadline
            self.page.wait_for_timeout(10)

    def doing(self, action: Callable[[], Any]) -> None:
        """Does it, and waits until the page has drawn what follows from it."""
        before = self.page.evaluate(DRAWN)
        action()
        self.drawn_since(before)

    def choose(self, label: str, value: str) -> None:
        self.doing(lambda: self.page.get_by_label(label, exact=True).select_option(value))

    def slide(self, section: str, value: int) -> None:
        self.doing(lambda: self.page.locator(f"#{section} input[type=range]").fill(str(value)))

    def tick(self, facet: str, value: str, on: bool) -> None:
        box = self.page.locator(f"fieldset[data-facet={facet}]").get_by_label(value, exact=True)
        self.doing(lambda: box.set_checked(on))

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()

    def state(self) -> dict[str, Any]:
        """Every control's value, and what is drawn."""
        controls = self.page.evaluate(
            "[...document.querySelectorAll('select, input')].map(c => "
            "c.type === 'checkbox' ? c.checked : c.value)"
        )
        return {"controls": controls, **{s: self.traces(s) for s in ("curves", "cost", "chosen")}}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> made_studies.Made:
    names = ("claims", "descent")
    return made_studies.study(tmp_path_factory.mktemp("page"), synthetic.tiny(), names)


@pytest.fixture(scope="module")
def shared(opened, made) -> Page:
    return opened(made)


@pytest.fixture
def page(shared) -> Page:
    """The page as it opens."""
    shared.page.evaluate("history.replaceState(null, '', location.pathname)")
    shared.doing(lambda: shared.page.evaluate("window.dispatchEvent(new Event('hashchange'))"))
    return shared


def by_setting(made: made_studies.Made) -> dict[str, pd.DataFrame]:
    """The rounds of each setting, by the label that the page gives it."""
    frame = chains(made.rounds)
    kinds = {"none": "no teacher", "best": "best teacher", "dense": "dense teacher"}
    label = "λ " + frame.weight_decay.astype(str) + " · " + frame.teacher.map(kinds)
    return dict(tuple(frame.groupby(label)))


def lines(page: Page) -> list[dict[str, Any]]:
    return [trace for trace in page.traces("curves") if trace["mode"] == "lines+markers"]


# --- What is drawn is what rounds.csv says ---


@pytest.mark.parametrize("quantity", ["test_accuracy", "train_loss", "energy_kwh"])
def test_every_seed_of_any_quantity_over_sparsity(page, quantity):
    if quantity != "test_accuracy":
        page.choose("Quantity", quantity)
    drawn = lines(page)
    for label, rounds in by_setting(page.made).items():
        mine = [trace for trace in drawn if trace["name"] == label]
        written = [chain for _, chain in rounds.groupby("seed")]
        for trace, chain in zip(mine, written, strict=True):
            assert trace["y"] == chain[quantity].to_list()
            assert trace["x"] == pytest.approx(-np.log10(1 - chain.sparsity / 100))
    assert len(drawn) == 8


def test_means_and_intervals_over_seeds(page):
    page.choose("Over seeds", "interval")
    bands = [trace for trace in page.traces("curves") if trace["fill"]]
    for (label, rounds), band in zip(sorted(by_setting(page.made).items()), bands, strict=True):
        (line,) = (trace for trace in lines(page) if trace["name"] == label)
        values = rounds.pivot(index="round", columns="seed", values="test_accuracy")
        mean, n = values.mean(axis=1), values.shape[1]
        assert line["y"] == pytest.approx(mean.to_list())
        low, high = stats.t.interval(0.95, n - 1, mean, values.std(axis=1) / np.sqrt(n))
        assert band["y"] == pytest.approx([*high, *low[::-1]], rel=1e-3)


def test_the_phases_are_those_of_figure_1(page):
    label = "λ 0.0001 · no teacher"  # it has the deepest valley
    rounds = by_setting(page.made)[label]
    test, train = (curve(rounds, f"{kind}_accuracy")["mean"] for kind in ("test", "train"))
    found = {k: v for k, v in vars(phases(test, train, made_studies.RULE.tolerance)).items() if v}
    shown = page.page.evaluate(
        "(({annotations, shapes}) => annotations.map((a, at) => [a.text, shapes[at].x0, "
        "shapes[at].x1]))(document.querySelector('#curves .plot').layout)"
    )
    x = -np.log10(1 - curve(rounds, "test_accuracy")["sparsity"].to_numpy() / 100)
    edges = [x[0], *(x[1:] + x[:-1]) / 2, x[-1]]
    assert [name for name, _, _ in shown] == list(found)
    for (_, left, right), stretch in zip(shown, found.values(), strict=True):
        assert (left, right) == pytest.approx((edges[stretch.start], edges[stretch.stop]))
    assert label in page.text("#curves .note")
    page.choose("Shade the phases of", "none")
    layout = page.page.evaluate("document.querySelector('#curves .plot').layout.shapes")
    assert not layout


@pytest.mark.parametrize("teacher", [False, True])
def test_the_front_has_every_round_that_no_other_beats(page, teacher):
    if teacher:
        box = page.page.get_by_label("Count what the teacher cost")
        page.doing(lambda: box.set_checked(True))
    frame = chains(page.made.rounds)
    column = f"{'total_' if teacher else ''}spent_flops"
    frame[column] = spent(frame, ["flops"])[column]
    points = frame[[column, "test_accuracy"]].to_numpy()
    best = {
        (cost, accuracy)
        for cost, accuracy in points
        if not any((c <= cost and a >= accuracy and (c, a) != (cost, accuracy)) for c, a in points)
    }
    (front,) = (t for t in page.traces("cost") if t["name"] == "Pareto front")
    assert set(zip(front["x"], front["y"], strict=True)) == best
    drawn = [t for t in page.traces("cost") if t["mode"] == "markers"]
    assert sum(len(trace["x"]) for trace in drawn) == len(frame)


def test_histograms_of_a_round_pool_its_seeds(page):
    page.slide("weights", 4)
    assert page.text("#weights output") == "4, sparsity 59.04 %"
    for trace in page.traces("weights"):
        rounds = by_setting(page.made)[trace["name"]]
        keys = [(chain, 4) for chain in rounds.chain.unique()]
        reaches = [page.made.metrics[key].weights.reach for key in keys]
        kept = [page.made.weights[key] for key in keys]
        # What is beyond a round's own bins is not in those of the pool either.
        inside = [k[np.abs(k) <= reach] for k, reach in zip(kept, reaches, strict=True)]
        edges = np.linspace(-max(reaches), max(reaches), len(trace["x"]) + 1)
        counts, _ = np.histogram(np.concatenate(inside), edges)
        assert trace["x"] == pytest.approx((edges[1:] + edges[:-1]) / 2)
        density = (counts / sum(map(len, kept)) / np.diff(edges)).tolist()
        assert [0 if y is None else y for y in trace["y"]] == pytest.approx(density)


def test_a_click_chooses_a_round_and_shows_how_it_learned_and_where_it_comes_from(page):
    page.page.locator("#curves .plot").scroll_into_view_if_needed()
    at = page.page.evaluate(
        "(() => { const box = document.querySelectorAll('#curves .points')[5]"
        ".querySelectorAll('path')[3].getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )
    page.page.mouse.move(*at)
    assert "weights kept: " in page.page.wait_for_selector(".hovertext").text_content()
    page.doing(lambda: page.page.mouse.click(*at))
    row = lines(page)[5]["rows"][3]
    chosen = chains(page.made.rounds).iloc[row]
    metrics = page.made.metrics[chosen.chain, chosen["round"]]
    learned = {t["name"]: t["y"] for t in page.traces("chosen") if t["name"] != "dense round"}
    assert learned["loss"] == pytest.approx([e.loss for e in metrics.history], rel=1e-3)
    assert learned["accuracy on the noisy labels"] == [e.accuracy for e in metrics.history]
    facts = page.text("#chosen .facts")
    for told in (chosen.chain, metrics.weights_sha256, "python", f'"round": {chosen["round"]}'):
        assert told in facts


def test_published_points_are_drawn_of_the_same_thing_only(opened, tmp_path):
    rounds = synthetic.study(seeds=(1,))
    rounds = rounds[rounds.dataset == "cifar10"].reset_index(drop=True)
    page = opened(made_studies.study(tmp_path, rounds))
    stars = [t for t in page.traces("curves") if t["mode"] == "markers"]
    ((source, points),) = read_off("cifar10", "symmetric-all-0.2", "resnet18", REWOUND)
    assert [(star["name"], star["y"]) for star in stars] == [(source, [y for _, y in points])]
    page.choose("Quantity", "validation_accuracy")
    assert not [t for t in page.traces("curves") if t["mode"] == "markers"]


# --- Choices ---


def test_filters_change_what_is_drawn(page):
    assert len({trace["name"] for trace in lines(page)}) == 4
    page.tick("teacher", "none", False)
    assert {trace["name"] for trace in lines(page)} == {
        "λ 0.0001 · best teacher", "λ 0.0001 · dense teacher",
    }  # fmt: skip
    assert "2 of 4 settings, 2 seeds, 4 chains" in page.text("#counted")
    page.tick("seed", "2", False)
    assert len(lines(page)) == 2
    assert {t["name"] for t in page.traces("cost") if t["mode"] == "markers"} == {
        t["name"] for t in lines(page)
    }
    page.tick("teacher", "best", False)
    page.tick("teacher", "dense", False)
    assert "No setting is left" in page.text("#curves .note")
    page.doing(lambda: page.page.get_by_role("button", name="Show all", exact=True).click())
    assert len({trace["name"] for trace in lines(page)}) == 4


def test_a_link_shows_the_same_again(page, opened, made):
    page.choose("Quantity", "train_accuracy")
    page.choose("Over seeds", "mean")
    page.choose("Cost", "weights_kept")
    page.choose("Setting", "2")
    page.slide("chosen", 5)
    page.tick("teacher", "best", False)
    hash = page.page.evaluate("location.hash")
    assert opened(made, hash).state() == page.state()
    # What it asks for and there is not is left out.
    asked = "#quantity=x&round=99&setting=length&show=toString&seed=1e3&phases=-1&cost=__proto__"
    page.doing(lambda: page.page.evaluate(f"location.hash = '{asked}'"))
    assert page.page.locator("#choose-quantity").input_value() == "test_accuracy"
    assert len(lines(page)) == 8


# --- Tables ---


def test_tables_sort_and_go_out_as_csv(page):
    page.page.locator("[data-table=rounds] > summary").click()
    table = page.page.locator("[data-table=rounds] table")
    head = table.get_by_role("button", name="test_accuracy", exact=True)
    for order in ("ascending", "descending"):
        head.click()
        assert table.locator(f"th[aria-sort={order}]").count() == 1
        column = 1 + list(page.made.rounds).index("test_accuracy")
        cells = table.locator(f"tbody td:nth-child({column})").evaluate_all(
            "cells => cells.map(cell => Number(cell.dataset.value))"
        )
        assert cells == sorted(page.made.rounds.drop_duplicates(["chain", "round"]).test_accuracy,
                               reverse=order == "descending")  # fmt: skip
    with page.page.expect_download() as download:
        page.page.locator("[data-download=rounds]").click()
    downloaded = pd.read_csv(download.value.path())
    once = page.made.rounds.drop_duplicates(["chain", "round"])
    merged = once.merge(downloaded, on=["chain", "round"], suffixes=("", "_again"))
    assert len(merged) == len(once) == len(downloaded)
    for name in set(once) - {"chain", "round", "experiment"}:
        pd.testing.assert_series_equal(
            merged[name], merged[f"{name}_again"], check_names=False, check_dtype=False,
            check_exact=True,
        )  # fmt: skip
    with page.page.expect_download() as download:
        page.page.locator("[data-table=claims] > summary").click()
        page.page.locator("[data-download=claims]").click()
    (claims,) = (path for path in page.made.tables if path.stem == "claims")
    rows = [list(csv.reader(io.StringIO(p.read_text("utf-8")))) for p in (
        Path(download.value.path()), claims)]  # fmt: skip
    assert rows[0] == rows[1]


def test_it_opens_on_the_claims(page):
    (path,) = (path for path in page.made.tables if path.stem == "claims")
    claims = pd.read_csv(path)
    said = [item.inner_text() for item in page.page.locator("#findings li").all()]
    assert len(said) == len(claims)
    for claim, text in zip(claims.itertuples(), said, strict=True):
        assert claim.claim in text and f"{claim.seeds_for} of {claim.n} for it" in text
        assert text.startswith(
            {"yes": "holds", "no": "does not hold"}.get(claim.holds, claim.holds)
        )
        assert ("95 % interval" in text) == (claim.ours_low == claim.ours_low)
    assert page.page.locator("main h2").first.inner_text() == "What the study found"


def test_claims_that_hold_say_so_whatever_else_their_table_has(opened, tmp_path):
    made = made_studies.study(tmp_path, synthetic.tiny(), ("claims",))
    frame = pd.read_csv(made.tables[0])[["claim", "n"]].head(3)
    more = {"ours_mean": [1.5, -2, 3], "ours_low": [1, -3, -1], "ours_high": [2, -1, 7],
            "holds": ["yes", "no", "not decided"], "seeds_for": [2, 0, 1], "new": "x"}  # fmt: skip
    frame.assign(**more).to_csv(made.tables[0], index=False)
    made_studies.document.write(made.page, made.contents())
    page = opened(made).page
    said = [item.inner_text() for item in page.locator("#findings li").all()]
    assert [text.split("\n")[0] for text in page.locator(".badge").all_inner_texts()] == [
        "holds", "does not hold", "not decided",
    ]  # fmt: skip
    assert "1.5 (95 % interval 1 to 2, 2 seeds; 2 of 2 for it); new: x" in said[0]
    assert "1 hold, 1 do not, 1 are not decided" in page.locator("#findings").inner_text()


# --- Who can use it ---


def test_names_that_look_like_markup_are_texts(opened, tmp_path):
    hostile = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    rounds = synthetic.tiny()
    second = rounds.assign(dataset=hostile, chain="b/" + rounds.chain)
    frame = pd.concat([rounds, second]).assign(study="<b>x<b>", device=hostile, experiment=hostile)
    made = made_studies.study(tmp_path, frame.reset_index(drop=True), ("claims",))
    page = opened(made)
    assert page.page.locator("img[src=x]").count() == 0
    assert page.page.locator("script").count() == 3
    assert hostile in page.text("#key") and hostile in page.text("#scope")
    assert "<b>x<b>" in page.text("h1")
    at = [t["name"].startswith(hostile) for t in page.traces("curves")].index(True)
    page.page.evaluate(
        f"Plotly.Fx.hover(document.querySelector('#curves .plot'), "
        f"[{{curveNumber: {at}, pointNumber: 1}}])"
    )
    assert hostile in page.page.locator(".hovertext").text_content()


def test_it_fits_a_phone_and_the_dark(opened, made):
    phone = opened(made, viewport=PHONE, has_touch=True, is_mobile=True)
    width = phone.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    plot = phone.page.locator("#curves .plot .main-svg").first.bounding_box()
    assert plot["width"] <= PHONE["width"]
    dark = opened(made, color_scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    assert phone.page.evaluate(colour) == "rgb(255, 255, 255)" != dark.page.evaluate(colour)
    light_lines, dark_lines = ({t["look"][0] for t in lines(p)} for p in (phone, dark))
    assert not light_lines & dark_lines
    # A change of mind, while it is open, draws anew.
    dark.doing(lambda: dark.page.emulate_media(color_scheme="light"))
    assert {t["look"][0] for t in lines(dark)} == light_lines


def test_lines_differ_without_colour(page):
    looks = {trace["name"]: tuple(trace["look"][1:]) for trace in lines(page)}
    assert len(set(looks.values())) == len(looks) == 4


def test_it_is_used_without_a_mouse_and_read_aloud(page):
    unnamed = page.page.evaluate(
        "[...document.querySelectorAll('select, input, button, [role=img], [role=region]')]"
        ".filter(e => e.checkVisibility() && !(e.labels?.length || e.ariaLabel || "
        "e.textContent.trim())).map(e => e.outerHTML)"
    )
    assert unnamed == []
    skip = page.page.locator("a, button, select, input, summary").first
    skip.focus()
    assert skip.get_attribute("href") == "#main" and skip.bounding_box()["x"] >= 0
    quantity = page.page.get_by_label("Quantity", exact=True)
    quantity.focus()
    page.doing(lambda: page.page.keyboard.press("ArrowDown"))
    assert page.page.evaluate("location.hash").startswith("#quantity=")
    page.page.locator("#choose-round").focus()
    page.doing(lambda: page.page.keyboard.press("ArrowRight"))
    assert "round=1" in page.page.evaluate("location.hash")
    chosen = page.page.evaluate("location.hash")
    page.page.get_by_role("link", name="Weights").press("Enter")
    assert page.page.evaluate("[document.activeElement.id, location.hash]") == ["weights", chosen]
    behind = page.page.locator("#curves .numbers summary")
    behind.focus()
    page.page.keyboard.press("Enter")
    rows = page.page.locator("#curves .numbers tbody tr")
    rows.first.wait_for()
    assert rows.count() == len(chains(page.made.rounds))
    levels = page.page.locator("h1, h2, h3").evaluate_all(
        "all => all.map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1 and all(b - a <= 1 for a, b in pairwise(levels))
