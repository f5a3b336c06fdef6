from dataclasses import replace

import pytest
import torch
import yaml

from tinynas import Arch, Supernet, augment, build, load_arch
from tinynas.arch.blocks import Stem
from tinynas.arch.zoo import shipped_networks
from tinynas.blocks.inverted_residual import InvertedResidual
from tinynas.utils.errors import InputError


@pytest.mark.parametrize("name", shipped_networks())
def test_arch_of_every_shipped_network_survives_yaml(name):
    arch = load_arch(name)
    assert Arch.from_dict(yaml.safe_load(arch.to_yaml())) == arch
    assert Arch.from_dict(arch.to_dict()) == arch
    assert hash(Arch.from_dict(arch.to_dict())) == hash(arch)


def test_arch_sampled_from_a_space_survives_yaml(shipped_space, rng):
    for _ in range(20):
        arch = shipped_space.sample(rng)
        assert Arch.from_dict(yaml.safe_load(arch.to_yaml())) == arch


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolutoin": 32}, "did you mean 'resolution'"),
        ({"resolution": 0}, "resolution must be a positive whole number or a pair of height and width, but is 0"),
        ({"padding": "sam"}, "unknown padding 'sam'; did you mean 'same'"),
        ({"padding": None}, "unknown padding 'None'; known: same, symmetric"),
        ({"classes": "ten"}, "classes > 0"),
        ({"stages": []}, "every stage a block"),
        ({"stages": 3}, "stages must be a list"),
        ({"stem": {"out": 8, "act": "rellu"}}, "did you mean 'relu'"),
        ({"stem": {}}, "stem lacks the key 'out'"),
        ({"stem": None}, "stem must be a mapping"),
        ({"head": {"conv": -1}}, "head.conv >= 0"),
        ({"stages": [[{"out": 8, "kernel": 4}]]}, "kernel must be an odd whole number or a pair of them, but is 4"),
        ({"stages": [[{"out": 8, "kernel": 3, "residual": True, "stride": 2}]]}, "residual block has stride 1"),
    ],
)
def test_arch_from_dict_refuses_wrong_descriptions(change, message):
    plain = {"resolution": 32, "stem": {"out": 8}, "stages": [[{"out": 8, "kernel": 3}]]} | change
    with pytest.raises(InputError, match=message):
        Arch.from_dict(plain)


def test_arch_with_padding_same_survives_yaml():
    arch = replace(load_arch("mcunet-in3"), padding="same")
    assert arch != load_arch("mcunet-in3")
    assert Arch.from_dict(yaml.safe_load(arch.to_yaml())) == arch
    assert Arch.from_dict(arch.to_dict()) == arch
    assert arch.as_detector().padding == "same"


def test_arch_with_symmetric_padding_is_written_without_it():
    """So that files of earlier versions, and digests of what is in them, are those of this version."""
    arch = load_arch("mcunet-in3")
    assert arch.padding == "symmetric"
    assert list(arch.to_dict()) == ["resolution", "in_channels", "classes", "stem", "stages", "head"]
    assert [line.partition(":")[0] for line in arch.to_yaml().splitlines() if line[0] not in " -"] == [*arch.to_dict()]


def test_arch_refuses_a_residual_block_that_changes_channels():
    with pytest.raises(InputError, match="keeps its channels"):
        Arch(resolution=8, stem=Stem(out=4), stages=((InvertedResidual(out=8, kernel=3, residual=True),),))


def test_arch_from_dict_names_a_missing_key():
    with pytest.raises(InputError, match="an arch lacks the key 'stages'"):
        Arch.from_dict({"resolution": 32, "stem": {"out": 8}})


@pytest.mark.parametrize("name", ["mobilenet-v2-tiny", "mcunet-in3", "mobilenet-v3-large-w0.35"])
def test_as_detector_keeps_a_classifiers_backbone(name):
    classifier = replace(load_arch(name), classes=20)
    detector = classifier.as_detector()
    assert (detector.task, detector.stages, detector.stem) == ("detect", classifier.stages, classifier.stem)
    assert detector.as_detector() == detector
    theirs, ours = build(classifier), Supernet(augment(detector, width=[1], expand=[1]))
    ours.adopt(theirs, leave_out="head.")
    assert torch.equal(ours.net.stages[2][0].project.conv.weight, theirs.stages[2][0].project.conv.weight)
    assert augment(detector).min() == detector


def test_as_detector_reads_the_feature_maps_of_up_to_three_strides(space):
    arch = space.max()
    assert arch.strides() == [2, 2]
    detector = arch.as_detector()
    assert (detector.head.levels, detector.tapped_strides()) == (1, (2,))
    assert load_arch("mcunet-in3").as_detector().tapped_strides() == (8, 16, 32)
    with pytest.raises(InputError, match=r"head.levels is 2, but the strides .* are \[2, 2\].* no 1; .* at most 1"):
        replace(arch, head=replace(detector.head, levels=2))


def test_arch_with_the_anchors_of_earlier_versions_is_refused(detectors):
    plain = detectors.min().to_dict()
    plain["head"] = {"width": 8, "kernel": 3, "act": "relu6", "anchors": [0.1, 0.1, 0.5, 0.5]}
    with pytest.raises(InputError, match="the head has anchors, as detectors of earlier versions"):
        Arch.from_dict(plain)
