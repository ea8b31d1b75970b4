"""The page: complete, escaped, self-contained, well-formed and the same for the same run."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from diffrec_core.report.data import ModelResult, ReportData
from diffrec_core.report.figures import build_figures
from diffrec_core.report.html import render_report
from diffrec_core.report.popularity import popularity
from tests.unit.report.runs import CURVE, PARTS, certainty, make_data, make_model, make_one_item

VOID = {"meta", "link", "wbr", "path"}
ATTACK = "<script>alert(1)</script>\"'&amp;"


class Page(HTMLParser):
    """Tags with attributes and the text inside them; fails where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names)
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((tuple(self.open), data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, *within: str) -> str:
        texts = (text for tags, text in self.texts if set(within) <= set(tags))
        return re.sub(r"\s+", " ", " ".join(texts))


def visible(page: Page) -> str:
    return re.sub(
        r"\s+",
        " ",
        " ".join(text for tags, text in page.texts if not {"script", "style"} & set(tags)),
    )


def page_of(data: ReportData) -> str:
    """The page with its figures, which take a second."""
    return render_report(data, build_figures(data))


def words_of(data: ReportData) -> str:
    """The page without figures."""
    return render_report(data, {})


def all_curves(run: ReportData) -> ReportData:
    return replace(run, models=[replace(model, curve=CURVE) for model in run.models])


def single_model(run: ReportData) -> ReportData:
    return replace(run, models=[model for model in run.models if model.selected])


def long_names(run: ReportData) -> ReportData:
    models = [replace(model, name=f"{model.name}_{'x' * 90}") for model in run.models]
    return replace(run, models=models)


SHAPES: dict[str, Callable[[ReportData], ReportData]] = {
    "usual": lambda run: run,
    "one item": lambda _: make_one_item(),
    "all curves": all_curves,
    "single model": single_model,
    "long names": long_names,
    "long titles": lambda run: replace(run, item_titles=["W" * 500] * len(run.item_titles)),
    "no samples": lambda run: replace(run, sample_histories={}),
    "no protocol": lambda run: replace(run, protocol={"parts": PARTS}, created_from={}),
}
"""Every shape of run that must give a sound page."""


@pytest.fixture(scope="module", params=SHAPES)
def html(request: pytest.FixtureRequest) -> str:
    return page_of(SHAPES[request.param](make_data()))


def test_page_is_well_formed_and_self_contained(html):
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>\n<html lang=")
    assert "http://" not in html
    assert "https://" not in html
    for _, attributes in page.elements:
        assert "src" not in attributes
        assert re.match(r"#|data:,$", attributes.get("href", "#"))
    assert "url(" not in html
    assert "@import" not in html
    places = " ".join(re.findall(r' (?:d|x|y|transform|viewBox)="([^"]*)"', html))
    assert set(re.findall("[A-Za-z]+", places)) <= {"M", "L", "C", "Q", "z", "translate"}


def test_page_is_deterministic(data):
    assert page_of(data) == page_of(data)


def test_ids_are_unique_and_links_lead_somewhere(html):
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    targets = {a["href"].removeprefix("#") for a in page.all("a")}
    targets |= {label["for"] for label in page.all("label")}
    assert targets <= set(ids)


def test_figures_and_tables_can_be_heard(html):
    page = Page(html)
    drawings = page.all("svg")
    assert len(drawings) >= 4
    assert all(svg["role"] == "img" and re.search(r"\d", svg["aria-label"]) for svg in drawings)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == tags.count("caption")
    assert all(th.get("scope") for th in page.all("th"))


def leaderboard_rows(html: str) -> Iterator[tuple[str, list[str], list[str]]]:
    body = html.split("<tbody>")[1].split("</tbody>", maxsplit=1)[0]
    for row in body.split("<tr")[1:]:
        cells = re.findall(r'<td class="number" data-value="(.*?)">(?:<strong>)?([^<]*)', row)
        name = row.split('<th scope="row">')[1].split("<")[0].strip()
        yield name, [value for value, _ in cells], [text for _, text in cells]


def test_leaderboard_shows_every_model_with_its_numbers(data):
    rows = {name: (values, texts) for name, values, texts in leaderboard_rows(words_of(data))}
    assert list(rows) == ["ease", "lightgcn", "popularity"]
    for model in data.models:
        values, texts = rows[model.name]
        parts = (model.validation, model.test)
        numbers = [part[key] for part in parts for key in data.headline]
        costs = [model.fit_seconds, model.parameters, model.peak_memory_mib]
        assert list(map(float, values)) == numbers + costs
        assert texts[:4] == [f"{number:.4f}" for number in numbers]


def test_the_winner_alone_is_marked(data):
    html = words_of(data)
    main = html.split("<tbody>")[1].split("</tbody>")[0]
    assert main.count('<tr class="selected">') == main.count("★ winner") == 1
    assert "ease <span" in main.split('<tr class="selected">')[1]


def test_headline_compares_with_runner_up_and_baseline(data):
    text = visible(Page(words_of(data)))
    winner, runner_up, baseline = data.models
    assert f"ease was selected from 3 models: validation recall@20 {0.28 + 0.0013:.4f}." in text
    assert f"test recall@20 {winner.test['recall@20']:.4f} mean over 43 users" in text
    assert f"validation ndcg@20 {winner.validation['ndcg@20']:.4f} mean over 41 users" in text
    for role, other in (("the runner-up", runner_up), ("the baseline", baseline)):
        ratio = winner.test["recall@20"] / other.test["recall@20"] - 1
        assert f"compared with {role} {other.name}, it is {ratio:.1%} ahead in recall@20" in text


def test_headline_says_when_nothing_beats_the_baseline(data):
    models = [replace(m, selected=m.name == "popularity") for m in reversed(data.models)]
    text = visible(Page(words_of(replace(data, models=models))))
    assert "popularity was selected from 3 models" in text
    assert "no model of this run is better than recommending the most popular items" in text
    assert "% behind in recall@20" in text


def test_models_that_cannot_be_told_from_the_winner_are_named(data):
    told = {
        "ease": certainty(0, None, differs=False),
        "lightgcn": certainty(0, 0.31, differs=False),
        "popularity": certainty(1, 0.0002, differs=True),
    }
    models = [replace(model, certainty=told[model.name]) for model in data.models]
    html = words_of(replace(data, models=models))
    text = visible(Page(html))
    assert "the winner cannot be told apart from lightgcn (p 0.310)." in text
    assert "significance is not tested" not in text
    assert "models with the same letter under group cannot be told apart" in text
    assert html.count("<small>.1000–.2000</small>") == 2 * 3 * 2  # parts, models, tables
    far = {**told, "lightgcn": certainty(1, 0.01, differs=True)}
    models = [replace(model, certainty=far[model.name]) for model in data.models]
    text = visible(Page(words_of(replace(data, models=models))))
    assert "the winner can be told apart from every other model" in text
    assert "significance is not tested" in visible(Page(words_of(data)))


def test_the_baseline_as_runner_up_is_named_once(data):
    models = [model for model in data.models if model.name != "lightgcn"]
    text = visible(Page(words_of(replace(data, models=models))))
    assert text.count("compared with") == 1
    assert "compared with the runner-up popularity" in text


def test_a_single_model_is_compared_with_nothing(one_item):
    text = visible(Page(words_of(one_item)))
    assert "popularity is the only model of this run: validation recall@20 0.0313." in text
    assert "compared with" not in text
    assert "User 1, 1 item in the history" in text


def test_everything_that_comes_from_data_is_escaped(data):
    models = [replace(model, name=f"{model.name}{ATTACK}", curve=CURVE) for model in data.models]
    hostile = replace(
        data,
        title=ATTACK,
        created_from={ATTACK: ATTACK},
        protocol={ATTACK: ATTACK, "parts": {ATTACK: data.protocol["parts"]["test"]}},
        data_card={**data.data_card, ATTACK: {ATTACK: ATTACK}},
        models=models,
        item_titles=[ATTACK] * len(data.item_titles),
        user_ids={0: ATTACK, 7: ATTACK},
    )
    html = page_of(hostile)
    page = Page(html)
    assert html.count("<script") == page_of(data).count("<script") == 1
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    assert ATTACK in page.text("h1")
    assert page.text("li").count(ATTACK) >= 15
    assert any(ATTACK in option for tags, option in page.texts if tags[-1] == "option")


def cards(html: str, user: int) -> list[str]:
    return re.split(r'<div class="card[ "]', html.split('<details class="user"')[1 + user])[1:]


def test_hits_are_marked_by_a_sign_and_in_words(data):
    html = words_of(data)
    for card in cards(html, 0):
        items = re.findall(r"<li.*?</li>", card)
        assert len(items) == 10
        marked = [n for n, item in enumerate(items) if "✓" in item]
        assert marked == [1]
        assert 'aria-label="hit">✓' in items[1]
        assert "1 of 10 hit" in card
        titles = [re.sub(r"<.*?>|✓", "", item).strip() for item in items]
        assert titles == [f"Film {n:02d}" for n in range(10)]


def test_history_is_newest_first_and_says_how_many_are_older(data):
    user = words_of(data).split('<details class="user"')[1]
    history = re.findall(r"<li>(.*?)</li>", user.split("</ul>")[0])
    assert history == [f"Film {n:02d}" for n in range(23, 8, -1)]
    assert "and 9 older" in user
    assert "User u-196, 24 items in the history" in user


def test_a_user_without_history_or_recommendations_is_shown(data):
    html = words_of(data)
    user = html.split('<details class="user"')[2]
    assert "Empty: a new user." in user
    assert "older" not in user
    assert all("0 of 0 hit" in card for card in cards(html, 1))


def test_all_users_are_there_without_scripts(data):
    html = words_of(data)
    page = Page(html)
    assert sum(a.get("class") == "user" for a in page.all("details")) == 2
    assert not [a for a in page.all("details") if "hidden" in a]
    assert '<p class="picker" hidden>' in html
    assert len(page.all("option")) == 2


def test_protocol_data_card_and_origin_are_shown(data):
    text = visible(Page(page_of(data)))
    for expected in (
        "commit 3f2a9c1 data 1997-09-20 03:05 UTC to 1998-04-22",
        "history · test: train and validation; cutoffs: 10, 20.",
        "1997-09-20 03:05 UTC",
        "The parts follow one another in time.",
        "rejected by reason · no time 3",
    ):
        assert expected in text


def test_only_given_figures_are_shown(data, one_item):
    html = page_of(data)
    for name in ("comparison", "cost", "training", "popularity", "timeline"):
        assert f'<figure id="{name}">' in html
    assert '<figure id="training">' not in page_of(one_item)


def test_size_of_a_full_run(data):
    rng = np.random.default_rng(3)
    curve = [{"epoch": float(n), "loss": 1 / n, "validation": 0.1} for n in range(1, 1001)]
    models = [
        make_model(
            f"model_{n}",
            0.2,
            selected=n == 0,
            curve=curve,
            top_items={user: [(item, False) for item in range(20)] for user in range(12)},
        )
        for n in range(7)
    ]
    full = replace(
        data,
        models=models,
        item_titles=[f"Title of a film, the {n:040d}" for n in range(24)],
        sample_histories={user: rng.integers(0, 24, 300).tolist() for user in range(12)},
        user_ids={user: str(user) for user in range(12)},
    )
    assert len(page_of(full).encode()) < 1_500_000


def at(model: ModelResult, *cutoffs: int) -> ModelResult:
    """The model as if it had been measured at some cutoffs alone."""
    names = [f"{metric}@{k}" for metric in ("recall", "ndcg") for k in cutoffs]
    values = dict.fromkeys(["users", *names], model.test["recall@10"])
    return replace(model, test=values, validation=values)


@pytest.mark.parametrize(("cutoffs", "slots"), [((5, 10), 10), ((10, 20), 20), ((10, 50), 20)])
def test_slots_are_as_many_as_the_lists_have(
    data: ReportData, cutoffs: tuple[int, int], slots: int
) -> None:
    models = [at(model, *cutoffs) for model in data.models]
    run = replace(data, models=models, selected_on="validation recall@10")
    figure = popularity(run.models, run.item_popularity, run.list_length)
    page = render_report(run, {"popularity": figure})
    assert re.findall(r"Their share of the top-(\d+) slots", page) == [str(slots)]
    assert set(re.findall(r"top-(\d+)", page)) == {str(slots)}
