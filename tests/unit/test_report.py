"""The report: its sentences follow from the numbers, strangers' text stays text, and the page works in a real browser."""

import html
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, Command, said
from report_results import ACCURACY, HOSTILE, SCHOOLS, paired, scores, write_results

from pipeline.contracts import InputError, Prepared
from pipeline.report import comparison, decisions
from pipeline.report.page import render
from pipeline.report.parts import About
from pipeline.report.provenance import provenance
from pipeline.report.report import FILES, about, page_of, summary
from pipeline.report.results import read_results
from pipeline.report.sentences import INVENTED, best_sentence, budget, joined, twins_sentence
from pipeline.report.tweets import summed, word
from pipeline.tables import Bar, measured

LABELS = ["not disaster", "disaster"]
TWINS = [("naive_bayes", "logistic"), ("gaussian_minilm", "logistic_minilm")]
DATA = {"source": "somewhere", "rows": {"train": 7613, "test": 3263}, "folds": {"0": {}, "1": {}}}


def made_of(root: Path) -> str:
    """The page from the results below a folder."""
    found, missing = read_results(FILES, root)
    origin = provenance({"prepare": {"folds": 5}}, DATA, "digest")
    of_all = about(found, LABELS, 50)
    return render(page_of(found, missing, TWINS, of_all, [], title="Generative & discriminative", provenance=origin))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_results(folder)
    (folder / "index.html").write_text(made_of(folder), encoding="utf-8")
    return folder / "index.html"


# --- sentences --------------------------------------------------------------------------------------------------------


def test_the_verdict_follows_from_the_scores() -> None:
    assert best_sentence(scores()).startswith(
        "Of single classifiers lora_minilm (discriminative) is right most often, about 83.0 % of 7,613 texts"
    )
    assert "ahead of every other" in best_sentence(scores())
    other = best_sentence(scores(ACCURACY | {"naive_bayes": 0.9}))
    assert other.startswith("Of single classifiers naive_bayes (generative) is right most often, about 90.0 %")
    tied = best_sentence(scores(standings="best ties behind ties few"))
    assert "it ties with logistic and gaussian_minilm; prompt_few_shot scored too few texts to be placed." in tied
    unsure = best_sentence(scores(standings="best unsure behind behind few"))
    assert ", but for logistic, where that is not sure; prompt_few_shot scored too few texts to be placed." in unsure
    few = best_sentence(scores(standings="ahead best behind behind few"))
    assert few.startswith("Of single classifiers logistic (discriminative) is right most often")
    assert "ahead of the others by more than chance explains; lora_minilm did not score all of them" in few
    assert "ahead of" not in best_sentence(scores(standings="best few few few few")), "nothing is known of any"
    assert "no other to compare" in best_sentence(scores().head(1))
    assert [joined(list(names)) for names in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]


def costing(ms: dict[str, float], **more: object) -> pd.DataFrame:
    return pd.DataFrame({"classifier": [*ms], "ms_per_text": [*ms.values()]}).assign(**more)


def test_what_less_takes_follows_from_scores_and_costs() -> None:
    ms = {"naive_bayes": 1.0, "logistic": 2.0, "gaussian_minilm": 20.0, "lora_minilm": 30.0, "prompt_few_shot": 1000.0}
    gain, steps = budget(scores(), costing(ms))
    assert gain == "It gains 3.5 points [+2.5, +4.5] over naive_bayes, and takes 30 times as long for a text."
    each = ["1 ms a text: naive_bayes, 79.5 %", "2 ms a text: logistic, 80.0 %", "30 ms a text: lora_minilm, 83.0 %"]
    assert steps.split("\n- ")[1:] == each, "none of these is beaten in less time"
    tied = scores(standings="best ties behind ties few")
    assert "Of those that tie with it, logistic takes the least time." in budget(tied, costing(ms))[0]
    asked = budget(scores(), costing(ms, example_labels=0, money=1.5))
    assert asked[-1].endswith("- without a label: prompt_few_shot, 60.0 % of 7,613 texts, for 1.50")
    assert not budget(scores(), costing({"lora_minilm": 1.0})), "there is nothing to choose from"


def test_the_order_on_the_real_tweets_is_as_the_sample_is_told() -> None:
    published = pd.read_csv(sorted((ROOT / "docs/results").glob("seed-*"))[-1] / "evaluate/scores.csv").set_index(
        "classifier"
    )
    accuracy = published["accuracy"]
    kinds = ("lora_.+", "(gaussian|logistic)_.+", "(naive_bayes|logistic)", "prompt_.+")
    tops = [accuracy[accuracy.index.str.fullmatch(kind)].max() for kind in kinds]
    assert tops == sorted(tops, reverse=True), INVENTED


def test_what_generative_twins_cost_follows_from_the_pairs() -> None:
    assert "naive_bayes ties with logistic (−0.5 points [−1.5, +0.5])." in twins_sentence(paired(), TWINS)
    ahead = twins_sentence(paired(ACCURACY | {"naive_bayes": 0.85}), TWINS)
    assert "naive_bayes is 5.0 points ahead of logistic [+4.0, +6.0], a real difference." in ahead
    assert "ties with logistic (+0.0 points" in twins_sentence(
        paired(ACCURACY | {"naive_bayes": ACCURACY["logistic"]}), TWINS
    )
    wide = paired().assign(low=-0.06, high=0.05)
    assert "naive_bayes is 0.5 points behind logistic [−6.0, +5.0], too few rows to tell" in twins_sentence(wide, TWINS)
    assert twins_sentence(paired(), [("a", "b")]) == twins_sentence(pd.DataFrame(), TWINS)


def test_the_summary_shows_all_that_tie_with_the_best() -> None:
    many = pd.concat([scores()] * 4, ignore_index=True).assign(standing=["best", *["ties"] * 12, *["behind"] * 7])
    text = summary("Title", ["One.", "Two."], many, paired(), TWINS, "abc")
    assert text.startswith("## Title\n\nOne.\n\nTwo.\n\n|   Place | Classifier")
    assert len([line for line in text.splitlines() if re.match(r"\| +\d+ \| \w+ +\| (gen|disc|prom)", line)]) == 13
    assert all(one in text for one in ("And 7 more.", "| naive_bayes − logistic", "made at abc"))


def test_nothing_beats_the_named_at_less_cost() -> None:
    found = scores(dict(zip(ACCURACY, (0.7, 0.6, 0.8, 0.8, 0.9), strict=True)))
    costs = pd.DataFrame({"classifier": [*ACCURACY], "ms_per_text": [1, 2, 3, 4, 4]})
    dots = comparison.dots(found, costs, "ms_per_text")
    assert [row["label"] for row in dots if row["label"]] == ["lora_minilm", "naive_bayes", "prompt_few_shot"]
    assert dots[-2]["at"] < 4 < dots[-1]["at"], "of one cost: side by side"


def test_words_are_marked_by_sign_and_part_of_the_largest() -> None:
    found = [word("x", weight, 2.0) for weight in (2.0, -1.0, 0.1, 0.0)]
    assert [(one.sign, one.strength) for one in found] == [("+", 4), ("−", 2), ("", 0), ("", 0)]
    assert word("x", 0.0, 0.0).strength == 0


def test_what_a_classifier_saw_adds_up_to_its_score() -> None:
    shown = summed([("fire", 2.0), ("song", -0.5)], 0.73)
    assert shown == "log-odds: −0.51 without a word, words +1.50, together +0.99, so 0.73"
    assert summed([], 0.5) == summed([("fire", 2.0)], None) == ""


# --- the page, without a browser --------------------------------------------------------------------------------------


def test_strangers_text_is_escaped_everywhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert "<b>fire</b>" not in text
    assert "<b>Yes</b>" not in text
    assert text.count("<script") == text.count("</script>") == 3, (
        "the data and two scripts, and none that a tweet brought"
    )
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert data
    assert "<" not in data[1]
    assert "keyword: <b>fire</b>" in json.dumps(json.loads(data[1])), "and yet it is there"
    assert '<td class="wide">NA</td>' in text, "tweets that say NA are tweets"


def test_the_page_is_one_small_file_that_loads_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text.encode()) < 5e6
    assert "default-src 'none'" in html.unescape(text)
    elements = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert len(elements) < len(text) - 500_000, "the library is inside"
    assert not re.search(r"<(?:link|script|img|iframe)[^>]+(?:src|href)=(?!\"data:)", elements)


def test_a_cascade_is_recommended_only_where_the_second_adds_something() -> None:
    of_all = About(SCHOOLS, LABELS, pd.DataFrame())

    def lead(*accuracies: float) -> str:
        steps = pd.DataFrame({"share": [0.0, 0.5, 1.0], "accuracy": accuracies, "ms_per_text": 1, "money_per_1000": 0})
        pair = steps.assign(first="naive_bayes", second="lora_minilm", low=steps["accuracy"], high=steps["accuracy"])
        return decisions.cascade({"cascade": pair}, of_all)[0].lead

    assert lead(0.80, 0.82, 0.82).startswith("lora_minilm needs to see only 50 % of the texts")
    assert lead(0.80, 0.82, 0.804) == "In no pair is the second more than half a point better than the first alone."


def test_an_interval_is_drawn_as_far_as_the_scale_goes() -> None:
    def bar(low: float, middle: float, high: float) -> Bar | None:
        row = {"accuracy_low": low, "accuracy": middle, "accuracy_high": high}
        return measured("Accuracy", "accuracy", drawn=(0.6, 0.8)).cell(row).bar

    assert bar(0.65, 0.7, 0.75) == Bar(25, 50, 75)
    assert bar(0.5, 0.62, 0.7) == Bar(0, 10, 50)
    assert bar(0.4, 0.55, 0.65) == Bar(0, None, 25)
    assert bar(0.4, 0.5, 0.55) == Bar(0, None, 0)
    assert bar(float("nan"), 0.7, float("nan")) == Bar(0, None, 0)


def test_what_did_not_run_is_left_out_and_named(tmp_path: Path) -> None:
    write_results(tmp_path, only=("evaluate", "errors", "robustness"))
    text = made_of(tmp_path)
    (named,) = re.findall(r"these stages did not run .*?</code>\): (.*?)\.</p>", text)
    assert named == "crossover, calibration, blend, cascade, explanations, generation"
    made = [
        "misses-and-false-alarms",
        "slices",
        "disagreements-of-twins",
        "confident-errors",
        "doubtful-labels",
        "robustness",
        "costs",
        "provenance",
    ]
    assert re.findall(r'<section id="([\w-]+)"', text) == made


def test_what_is_there_in_part_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"evaluate/scores\.csv: no such file"):
        read_results(FILES, tmp_path)
    write_results(tmp_path, only=("evaluate", "errors"))
    (tmp_path / "errors/slices.csv").unlink()
    with pytest.raises(InputError, match=r"errors/slices\.csv: no such file; run `dvc repro errors`"):
        read_results(FILES, tmp_path)


def test_one_classifier_alone_has_a_report(tmp_path: Path) -> None:
    write_results(tmp_path, only=("evaluate",))
    for name, rows in {"scores": 1, "costs": 1, "paired": 0}.items():
        path = tmp_path / f"evaluate/{name}.csv"
        pd.read_csv(path).head(rows).to_csv(path, index=False)
    assert "there is no other to compare it with" in made_of(tmp_path)


def test_the_stage_writes_page_and_summary(project: Path, command: Command, sample: Prepared) -> None:
    write_results(project, only=("evaluate", "robustness"))
    noisy = scores().assign(groups=12.1, noise=[None, None, 0.009, None, None])
    noisy.to_csv(project / "evaluate/scores.csv", index=False)
    (project / "data/prepared").mkdir(parents=True)
    for name in ("train", "test"):
        getattr(sample, name).to_parquet(project / f"data/prepared/{name}.parquet")
    (project / "data/prepared/report.json").write_text(json.dumps(DATA))
    said(command("pipeline.report.report"))
    assert INVENTED in (project / "report/summary.md").read_text(encoding="utf-8"), "it is the sample"
    assert best_sentence(scores()) in (project / "report/summary.md").read_text(encoding="utf-8")
    text = (project / "report/index.html").read_text(encoding="utf-8")
    assert "logistic gains 2.0 points and naive_bayes loses 3.0 points, against the same texts" in text
    assert "some interval here rests on about 12 groups of one size" in text
    assert "another draw turns over: naive_bayes (0.9\N{NO-BREAK SPACE}%)." in text
    assert "not in a git repository" in text


def test_what_the_blend_takes_is_added_up_from_the_costs_of_those_that_it_asks(tmp_path: Path) -> None:
    """The blend itself knows no times."""
    write_results(tmp_path)
    tables, _ = read_results(FILES, tmp_path)
    of_all = about(tables, LABELS, 50)
    costs = tables["evaluate"]["costs"].set_index("classifier")["ms_per_text"]
    weights = tables["blend"]["weights"].query("fold == -1 and weight > 0")
    (section,) = decisions.blend(tables["blend"], of_all)
    assert f"take {costs[weights['classifier']].sum():.3g} ms a text" in section.lead
    shared = tables["evaluate"]["costs"].assign(reads="embed_minilm", reading_ms=0.005)
    (section,) = decisions.blend(tables["blend"], of_all._replace(costs=shared))
    once = costs[weights["classifier"]].sum() - 0.005 * (len(weights) - 1)
    assert f"take {once:.3g} ms a text" in section.lead, "an embedding that all read is paid once"


# --- the page in a browser --------------------------------------------------------------------------------------------

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
no_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium or Chrome on the path")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """The page in a tab, with all that its console said and all that it asked for."""

    def __init__(self, browser: Any, page: Path, **context: Any) -> None:
        self.tab = browser.new_context(**context).new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("dialog", lambda dialog: (self.said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(page.as_uri())
        self.tab.wait_for_selector("html[data-ready]", state="attached")

    def column(self, table: str, number: int) -> list[str]:
        rows = self.tab.locator(f"[data-table='{table}'] tbody tr:visible td:nth-child({number})")
        return [text.strip() for text in rows.all_inner_texts()]


@pytest.fixture(scope="module")
def opened(browser: Any, page: Path) -> Opened:
    return Opened(browser, page, viewport={"width": 1280, "height": 900}, color_scheme="light")


class TestInBrowser:
    pytestmark = [pytest.mark.slow, no_browser]  # noqa: RUF012

    def test_all_charts_are_drawn_and_nothing_is_amiss(self, opened: Opened, page: Path) -> None:
        charts = opened.tab.locator(".chart")
        assert charts.count() == opened.tab.locator(".chart svg").count() >= 12
        assert opened.tab.locator(".chart svg").evaluate_all(
            "all => all.every(one => one.querySelectorAll('path').length > 4)"
        )
        assert opened.said == []
        assert opened.asked == [page.as_uri()], "it opens without a network"

    def test_a_tweet_that_is_a_script_is_text(self, opened: Opened) -> None:
        assert opened.tab.evaluate("window.hacked") is None
        for table in ("disagreements-table", "confident-errors-table", "label-noise", "sampled-texts"):
            assert HOSTILE in opened.tab.locator(f"[data-table='{table}'] tbody").inner_text(), table
        assert HOSTILE in opened.tab.locator(".tweet q").first.inner_text()
        assert opened.tab.locator("img, table script").count() == 0

    def test_the_policy_stops_a_script_that_got_in(self, browser: Any, page: Path) -> None:
        tab = Opened(browser, page).tab
        tab.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hacked = 1'}))"
        )
        tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked = 1\">')")
        tab.wait_for_timeout(200)
        assert tab.evaluate("window.hacked") is None

    def test_a_heading_sorts_by_mouse_and_by_key(self, opened: Opened) -> None:
        heading = opened.tab.locator("[data-table='ranking'] th", has_text="Accuracy")
        before = opened.column("ranking", 3)
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == "descending"
        assert opened.column("ranking", 3) == before, "the best comes first"
        heading.locator("button").focus()
        opened.tab.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == "ascending"
        assert opened.column("ranking", 3) == before[::-1]
        opened.tab.locator("[data-table='ranking'] th button", has_text="Classifier").press("Space")
        assert opened.column("ranking", 2) == sorted(SCHOOLS)
        assert heading.get_attribute("aria-sort") is None
        opened.tab.locator("[data-table='ranking'] th button", has_text="ms a text").click()
        found = [float(text) for text in opened.column("ranking", 10)]
        assert found == sorted(found), "as numbers"

    def test_tables_are_searched_and_filtered(self, opened: Opened) -> None:
        block = opened.tab.locator("[data-table='confident-errors-table']")
        block.locator("input").focus()
        opened.tab.keyboard.type("FOREST lake")
        assert set(opened.column("confident-errors-table", 1)) == {"Forest fire near the lake"}
        assert block.locator("output").inner_text() == "4 of 32"
        block.locator("select").first.select_option("naive_bayes")
        assert block.locator("output").inner_text() == "1 of 32"
        block.locator("input").fill("")
        assert set(opened.column("confident-errors-table", 4)) == {"naive_bayes"}

    def test_a_filter_has_an_address_and_what_it_shows_can_be_saved(self, browser: Any, page: Path) -> None:
        first = Opened(browser, page)
        first.tab.locator("[data-table='confident-errors-table'] select").first.select_option("naive_bayes")
        again = Opened(browser, page)
        again.tab.goto(first.tab.url)
        again.tab.wait_for_selector("html[data-ready]", state="attached")
        assert set(again.column("confident-errors-table", 4)) == {"naive_bayes"}
        with again.tab.expect_download() as begun:
            again.tab.locator("[data-table='confident-errors-table'] [data-csv]").click()
        assert begun.value.suggested_filename == "confident-errors-table.csv"
        saved = pd.read_csv(begun.value.path())
        assert set(saved["Classifier"]) == {"naive_bayes"}
        assert len(saved) == 8
        assert again.said == []

    def test_a_choice_draws_another_chart(self, opened: Opened) -> None:
        figure = opened.tab.locator("#accuracy-cost")
        before = figure.locator("svg").inner_html()
        figure.get_by_label("Fitting, seconds").focus()
        opened.tab.keyboard.press("Space")
        opened.tab.wait_for_function(
            "before => document.querySelector('#accuracy-cost svg').innerHTML !== before", arg=before
        )
        assert "Fitting, seconds" in figure.locator("svg").inner_html()
        opened.tab.locator("#confusion-matrix select").select_option(label="naive_bayes")
        assert opened.said == []

    def test_it_can_be_read_without_seeing_colours_or_charts(self, opened: Opened) -> None:
        levels = opened.tab.locator("h1, h2, h3").evaluate_all("all => all.map(one => Number(one.tagName[1]))")
        assert (levels[0], levels.count(1)) == (1, 1)
        assert all(b - a <= 1 for a, b in itertools.pairwise(levels)), "no level is skipped"
        for figure in opened.tab.locator("figure").all():
            assert figure.locator(".panels").get_attribute("aria-label")
            assert figure.locator("details table tbody tr").count() > 0
        assert opened.tab.locator(".w.for sup").first.inner_text() == "+"
        assert opened.tab.locator(".w.against sup").first.inner_text() == "−"
        ids = opened.tab.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        own = [one for one in ids if "gradient" not in one and "clip" not in one]
        assert len(own) == len(set(own))
        targets = opened.tab.locator("nav a").evaluate_all("all => all.map(one => one.hash.slice(1))")
        assert set(targets) <= set(ids)

    def test_nothing_sticks_out_on_a_phone(self, browser: Any, page: Path) -> None:
        phone = Opened(browser, page, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
        assert phone.tab.evaluate("document.documentElement.scrollWidth") == 390
        assert phone.tab.locator(".chart svg").evaluate_all(
            "all => all.every(one => one.getBoundingClientRect().right <= 391)"
        )
        box = phone.tab.locator("[data-table='ranking'] .box")
        assert box.evaluate("one => one.scrollWidth > one.clientWidth"), "wide tables scroll inside their box"
        assert phone.said == []

    def test_the_dark_page_is_dark_and_its_charts_are_light(self, browser: Any, page: Path, opened: Opened) -> None:
        dark = Opened(browser, page, color_scheme="dark")
        script = """() => [getComputedStyle(document.body).backgroundColor,
            getComputedStyle(document.querySelector('.chart svg .role-axis-label text')).fill]"""

        def brightness(colours: list[str]) -> list[float]:
            return [float(np.mean([float(part) for part in re.findall(r"[\d.]+", colour)[:3]])) for colour in colours]

        paper, ink = brightness(dark.tab.evaluate(script))
        assert (paper < 60, ink > 140) == (True, True)
        paper, ink = brightness(opened.tab.evaluate(script))
        assert (paper > 240, ink < 120) == (True, True)
        dark.tab.emulate_media(media="print")
        assert brightness(dark.tab.evaluate(script))[0] > 240, "on paper it is light"

    def test_it_prints(self, browser: Any, page: Path) -> None:
        opened = Opened(browser, page)
        opened.tab.emulate_media(media="print")
        assert not opened.tab.locator("nav").is_visible()
        assert not opened.tab.locator(".controls").first.is_visible()
        assert opened.tab.locator(".box").evaluate_all(
            "all => all.every(one => getComputedStyle(one).overflow === 'visible')"
        )
        opened.tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert opened.tab.locator(".tweet:not([open])").count() == 0
        assert len(opened.tab.pdf(format="A4")) > 10_000
