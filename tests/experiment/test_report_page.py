import base64
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from conftest import load_always, search_plan

from helpers import RECIPE, Quiet
from tinynas.arch.cost import cost, describe
from tinynas.arch.zoo import load_arch
from tinynas.experiment.config import NetAug, RetrainConfig
from tinynas.experiment.plans import RetrainPlan
from tinynas.experiment.report.page import render_report, write_report
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.search import search
from tinynas.utils.errors import FileError

HOSTILE = ("<script>alert(1)</script>", "b & 'c'", '" onerror="x')


class Page(HTMLParser):
    """A page's elements with their attributes, and its text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not set(self.open) & {"script", "style"}:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def having(self, attribute):
        return [attributes for _, attributes in self.elements if attribute in attributes]


@pytest.fixture(scope="module")
def run(data, small_config, tmp_path_factory):
    """A searched run of classes that have HTML in their names, its best network retrained plain and with NetAug."""
    plan = search_plan(small_config, tmp_path_factory.mktemp("report"))
    with pytest.MonkeyPatch.context() as patch:
        load_always(replace(data, classes=HOSTILE), patch)
        search(plan, report=Quiet())
        for name, netaug in (("plain", None), ("net<aug>", NetAug())):
            config = RetrainConfig(netaug=netaug, recipe=RECIPE)
            arch = load_arch(plan.run / "best.yaml")
            retrain(RetrainPlan(folder=plan.run / "retrain" / name, arch=arch, config=config), report=Quiet())
    return plan.run


@pytest.fixture(scope="module")
def page(run):
    return Page(render_report([run]))


def test_page_is_one_small_file_that_refers_to_nothing_else(run, page):
    written = (run / "report.html").read_text()
    assert len(written) < 5_000_000
    for attribute in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
        for attributes in page.having(attribute):
            assert re.match("#|data:", attributes[attribute]), f"{attribute}={attributes[attribute]}"
    assert not re.search(r"url\(|@import|https?://|fetch\(|XMLHttpRequest", written)
    (policy,) = [attributes["content"] for attributes in page.having("http-equiv")]
    assert policy.startswith("default-src 'none'")


def test_names_of_classes_and_retrainings_are_shown_as_text(page):
    assert HOSTILE[0] in page.text
    assert HOSTILE[1] in page.text
    assert "net<aug>" in page.text
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not page.having("onerror")
    assert "aug" not in [tag for tag, _ in page.elements]


def test_links_and_points_lead_to_parts_of_the_page(page):
    ids = [attributes["id"] for attributes in page.having("id")]
    assert len(ids) == len(set(ids))
    links = [attributes["href"][1:] for attributes in page.having("href") if attributes["href"].startswith("#")]
    points = [attributes["data-select"] for attributes in page.having("data-select")]
    assert links
    assert points
    assert set(links + points) <= set(ids)


def test_every_part_of_a_run_is_there(page):
    for title in (
        "Pareto front",
        "Layer by layer",
        "History",
        "Predictor: Kendall's tau",
        "Retrained networks",
        "Beside the same network retrained plain",
        "Loss on training images",
        "By class",
        "Confusion matrix",
        "Calibration",
        "How to reproduce",
        "SHA-256 of images and labels",
    ):
        assert title in page.text, title


def test_peak_of_memory_is_marked_in_the_layers(run, page):
    peak = describe("peak_sram", cost(load_arch(run / "best.yaml")).peak_sram)
    assert f"{peak} peak" in page.text


def test_pictures_are_png_files(page):
    sources = [attributes["src"] for attributes in page.having("src")]
    assert sources, "the small networks make mistakes"
    for source in sources:
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")


def test_commands_name_the_files_of_the_run(run, page):
    commands = [line for line in render_report([run]).splitlines() if "tinynas search --config" in line]
    assert shlex.quote(str(run / "config.yaml")) in commands[0]
    assert f"--config {run}/retrain/plain/config.yaml --name plain-again" in page.text


def test_several_runs_are_beside_each_other(run, tmp_path):
    write_report([run, run], tmp_path / "two.html")
    page = Page((tmp_path / "two.html").read_text())
    ids = [attributes["id"] for attributes in page.having("id")]
    assert len(ids) == len(set(ids))
    assert page.text.count("How to reproduce") == 4, "twice as a title, twice as a link"


def test_folder_without_results_has_no_report(tmp_path):
    with pytest.raises(FileError, match=r"has no front\.json and no finished retraining"):
        write_report([tmp_path], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
