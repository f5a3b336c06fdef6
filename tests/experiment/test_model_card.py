"""Model cards are read by markdown-it and, where it is installed, by huggingface_hub."""

from dataclasses import replace

import pytest
import yaml
from markdown_it import MarkdownIt

from helpers import Quiet
from tinynas.arch.cost import cost
from tinynas.data.identity import DataIdentity, SplitIdentity
from tinynas.experiment.card_file import add_exported_files, is_card, write_card
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.model_card import model_card
from tinynas.experiment.plans import ExportPlan, RetrainPlan
from tinynas.experiment.results import RetrainMetrics
from tinynas.experiment.run_folder import RunFolder
from tinynas.experiment.saved import save_retraining
from tinynas.pipelines.export import export
from tinynas.tasks.chance import chance_level
from tinynas.tasks.detection_figures import DetectionFigures

CLASSES = ("<script>alert(1)</script>", "a: b | c", "---\nname: x")
DATA = "imagefolder:/home/someone/my photos"


@pytest.fixture
def folder(space, tmp_path):
    """The folder of a retraining whose classes have names that mean something in Markdown, HTML and YAML."""
    splits = {"train": SplitIdentity(96, "a" * 64), "val": SplitIdentity(30, "b" * 64)}
    identity = DataIdentity(CLASSES, splits | {"test": SplitIdentity(50, "c" * 64)})
    retraining = RunFolder(tmp_path / "doors | no: 1").retraining("plain")
    config = replace(RetrainConfig(), data=DATA, eval_images=60)
    save_retraining(RetrainPlan(folder=retraining.path, arch=space.min(), config=config), identity)
    return retraining


@pytest.fixture
def metrics(space):
    return RetrainMetrics(
        accuracy=80.0,
        balanced_accuracy=70.0,
        by_class=dict(zip(CLASSES, (90.0, 50.0, None), strict=True)),
        chance=chance_level([30, 20, 0], CLASSES),
        train_accuracy=85.0,
        cost=cost(space.min()),
        seconds=2.0,
        epochs=20,
        netaug=False,
        teacher=None,
        seed=0,
        data=DATA,
    )


def metadata_of(card):
    """The YAML between the first two lines of dashes."""
    first, *lines = card.split("\n")
    assert first == "---"
    return yaml.safe_load("\n".join(lines[: lines.index("---")]))


def rows_of(card):
    """The rows of all tables, as lists of the texts that a reader sees."""
    reader, rows = MarkdownIt("commonmark", {"html": False}).enable("table"), []
    for token in reader.parse(card.partition("\n---\n")[2]):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and token.level > 2:
            rows[-1].append("".join(child.content for child in token.children))
    return rows


def test_card_has_the_figures_with_split_and_images(folder, metrics):
    card = model_card(folder, metrics)
    rows = rows_of(card)
    assert ["accuracy", "80.00", "test", "50"] in rows
    assert ["balanced accuracy, mean over classes", "70.00", "test", "50"] in rows
    assert [f"chance level: always {CLASSES[0]}, the largest class", "60.00", "test", "50"] in rows
    assert ["accuracy", "85.00", "train", "60"] in rows  # a sample of eval_images
    assert ["search-val", "30", "b" * 64] in rows
    assert ["MACs", f"{metrics.cost.macs:,}"] in rows
    assert "5.66 percentage points" in card  # sqrt(80 * 20 / 50)


def test_card_shows_names_as_they_are_and_runs_nothing(folder, metrics):
    card = model_card(folder, metrics)
    rows = rows_of(card)
    assert ["<script>alert(1)</script>", "90.00"] in rows
    assert ["a: b | c", "50.00"] in rows
    assert ["---\\nname: x", "no image"] in rows
    assert "<script" not in card
    assert metadata_of(card)["model-index"][0]["name"] == "doors | no: 1-plain"


def test_card_names_no_folder_of_the_machine(folder, metrics):
    card = model_card(folder, metrics)
    assert "/home" not in card
    assert "imagefolder:my photos" in card


def test_card_has_metadata_of_the_hub(folder, metrics):
    metadata = metadata_of(model_card(folder, metrics))
    (entry,) = metadata["model-index"]
    (result,) = entry["results"]
    assert (metadata["library_name"], metadata["pipeline_tag"]) == ("tinynas", "image-classification")
    assert result["dataset"]["args"] == {"images": 50, "sha256": "c" * 64}
    assert [(item["type"], item["value"]) for item in result["metrics"]] == [
        ("accuracy", 0.8),
        ("balanced_accuracy", 0.7),
    ]
    assert "license" not in metadata


def test_card_of_a_detector_has_its_task_and_figures(folder, metrics, detectors):
    config = replace(RetrainConfig.for_task("detect"), data=DATA)
    retraining = RunFolder(folder.run).retraining("boxes")
    identity = DataIdentity(CLASSES, {"test": SplitIdentity(50, "c" * 64)})
    save_retraining(RetrainPlan(folder=retraining.path, arch=detectors.min(), config=config), identity)
    figures = DetectionFigures(ap75=10.0, ar=30.0, voc_ap50=41.0, voc_ap50_11_points=42.0)
    measured = replace(metrics, metric="mAP", ap50=40.0, balanced_accuracy=None, chance=None, detection=figures)
    card = model_card(retraining, measured)
    metadata = metadata_of(card)
    assert (metadata["pipeline_tag"], metadata["metrics"]) == ("object-detection", ["map"])
    assert ["AP50 by COCO's protocol", "40.00", "test", "50"] in rows_of(card)
    assert "model.detect(" in card


def test_card_is_read_by_the_hubs_library(folder, metrics):
    hub = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
    folder.card.write_text(model_card(folder, metrics))
    card = hub.ModelCard.load(folder.card)
    assert str(card) == folder.card.read_text()  # metadata survive reading and writing, to the byte
    accuracy, balanced = card.data.eval_results
    assert (accuracy.metric_value, accuracy.dataset_name) == (0.8, "imagefolder:my photos")
    assert (balanced.metric_type, balanced.dataset_split) == ("balanced_accuracy", "test")
    assert hub.ModelCardData(**card.data.to_dict()).to_dict() == card.data.to_dict()


def test_card_is_written_again_with_the_users_licence(folder, metrics):
    write_card(folder.card, model_card(folder, metrics))
    folder.card.write_text(folder.card.read_text().replace("---\n", "---\nlicense: mit\n", 1))
    write_card(folder.card, model_card(folder, replace(metrics, accuracy=81.0)))
    metadata = metadata_of(folder.card.read_text())
    assert metadata["license"] == "mit"
    assert metadata["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.81


def test_readme_of_others_is_left_alone(tmp_path, metrics, folder):
    page = tmp_path / "README.md"
    page.write_text("# my project\n")
    write_card(page, model_card(folder, metrics))
    add_exported_files(page, None)
    assert page.read_text() == "# my project\n"


def test_damaged_front_costs_no_card(folder, metrics):
    RunFolder(folder.run).front.write_text("{")
    assert "# doors" in model_card(folder, metrics)


def test_card_of_early_exits_is_extended_by_every_export_anew(exported_exits):
    page = exported_exits.exits / "README.md"
    card = page.read_text()
    assert is_card(page)
    assert card.count("## Exported files") == 1
    assert metadata_of(card)["tags"][-1] == "early-exit"
    assert any(row[:1] == ["mainnet"] for row in rows_of(card))
    plan = ExportPlan(model=exported_exits.exits / "sidenet.safetensors", out=page.parent, to="onnx", calibration=8)
    export(plan, report=Quiet())
    assert page.read_text().count("## Exported files") == 1
