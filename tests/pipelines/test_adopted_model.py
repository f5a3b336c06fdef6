"""A supernet that starts from the weights of a model: what is copied, what is refused, and how it resumes."""

from dataclasses import replace

import pytest
import torch
import yaml

from helpers import SMALL, Interrupting, Quiet, model_of
from tinynas import Supernet, load_space
from tinynas.models.model_file import save_model
from tinynas.pipelines.adopted_model import initialise_supernet
from tinynas.pipelines.search import train_supernet
from tinynas.tasks.registry import fit_to_data
from tinynas.training.checkpoint import read_checkpoint
from tinynas.utils.errors import FileError, InputError


@pytest.fixture
def init(watched, space, tmp_path):
    """A model of the smallest network of the small space, with its classes."""
    path = tmp_path / "model" / "model.safetensors"
    save_model(path, model_of(space.min(), classes=watched.classes))
    return path


@pytest.fixture
def plan_with(plan, init):
    """Makes the plan of a search in a run of this name that starts from the model."""

    def make(name, **settings):
        config = replace(plan.config, init=str(init), **settings)
        return replace(plan, run=plan.run.parent / name, config=config)

    return make


def weights_of(plan):
    return read_checkpoint(plan.run / "supernet.pt")["model"]


def test_the_models_weights_are_in_the_leading_channels_and_the_centres_of_kernels(space, plan_with, watched, init):
    """So that the supernet computes what the model does, as a subnet; the other weights stay fresh."""
    torch.manual_seed(0)
    supernet, fresh = Supernet(space), Supernet(space)
    fresh.load_state_dict(supernet.state_dict())
    (line,) = initialise_supernet(supernet, plan_with("run"), watched)
    model = model_of(space.min(), classes=watched.classes).net
    subnet = supernet.eval().extract(space.min())
    images = torch.randn(2, *space.min().input_shape)
    with torch.no_grad():
        assert torch.equal(subnet(images), model(images))
    before, after = fresh.net.stem.conv.weight, supernet.net.stem.conv.weight
    width = space.min().stem.out
    assert torch.equal(after[:width], model.stem.conv.weight)
    assert torch.equal(after[width:], before[width:])
    taken = sum(parameter.numel() for parameter in model.parameters())
    total = sum(parameter.numel() for parameter in supernet.net.parameters())
    assert line.startswith(f"init: {taken} of ")
    assert f"({taken / total:.0%})" in line
    assert str(init) in line


def test_smaller_kernels_lie_in_the_centre(space, plan_with, watched):
    supernet = Supernet(space)
    initialise_supernet(supernet, plan_with("run"), watched)
    model = model_of(space.min(), classes=watched.classes).net
    small, large = (net.stages[1][0].depthwise.conv.weight for net in (model, supernet.net))
    assert (small.shape[-1], large.shape[-1]) == (3, 7)
    assert torch.equal(large[: len(small), :, 2:5, 2:5], small)


def test_of_other_classes_and_colours_all_but_the_classifier_is_taken(space, plan_with, watched, init):
    coloured = space.fitted_to(in_channels=3, classes=3).min()
    save_model(init, model_of(coloured))
    supernet = Supernet(space)
    torch.nn.init.constant_(supernet.net.head.classifier.weight, 7.0)
    initialise_supernet(supernet, plan_with("run"), watched)
    stem = model_of(coloured).net.stem.conv.weight
    assert torch.equal(supernet.net.stem.conv.weight[: len(stem)], stem.sum(1, keepdim=True))
    assert (supernet.net.head.classifier.weight == 7.0).all()


def test_a_search_starts_from_the_model_and_resumes_to_the_bit(plan_with, init, monkeypatch):
    monkeypatch.setattr("tinynas.training.checkpoint._SAVE_SECONDS", 0.0)
    whole, resumed, report = plan_with("whole"), plan_with("resumed"), Quiet()
    train_supernet(whole, report=report)
    assert [line for line in report.notes if line.startswith("init: ")]
    with pytest.raises(KeyboardInterrupt):
        train_supernet(resumed, report=Interrupting(after=4))
    init.unlink()  # its weights are in the checkpoint
    report = Quiet()
    train_supernet(resumed, report=report)
    assert not [line for line in report.notes if line.startswith("init: ")]
    expected = weights_of(whole)
    for name, tensor in weights_of(resumed).items():
        assert torch.equal(tensor, expected[name]), name
    fresh = replace(whole, run=whole.run.parent / "fresh", config=replace(whole.config, init=None))
    train_supernet(fresh, report=Quiet())
    assert not torch.equal(weights_of(fresh)["net.stem.conv.weight"], expected["net.stem.conv.weight"])
    with pytest.raises(FileError, match=r"another configuration: init is .* there, null here"):
        train_supernet(replace(whole, config=replace(whole.config, init=None)), report=Quiet())


def test_a_model_that_shares_no_blocks_is_refused_before_anything_is_written(plan_with, watched, init, tmp_path):
    arch = fit_to_data(load_space("vit-tiny").min(), watched)
    save_model(init, model_of(arch, classes=watched.classes))
    plan = plan_with("run")
    with pytest.raises(InputError, match=r"of other kinds than those of the search space, .* choose another --init"):
        train_supernet(plan, report=Quiet())
    assert not plan.run.exists()
    init.unlink()
    with pytest.raises(FileError, match=r"model\.safetensors"):
        train_supernet(plan, report=Quiet())
    assert not plan.run.exists()


def test_search_takes_a_models_folder_and_a_search_by_training_none(tinynas, fails, watched, init, tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    how = ("--space", "small.yaml", "--data", "digits", "--epochs", 1, "--trials", 2, "--flops", "60K")
    code, out, err = tinynas("search", *how, "--init", init.parent)
    assert code == 0, err
    assert "init: " in out
    refused = fails("search", *how, "--init", init.parent, "--evaluate", "train")
    assert refused == "tinynas: --evaluate train trains no supernet; remove --init\n"
