"""From an arch to the operators that a target runs.

The lowered network is what is written to a `.tflite` file and what the memory of its arena is counted from. It computes
what `build(arch)` computes, with norms folded, and differs from its modules in these points:

- Hard swish is an operator of its own; relu and relu6 are fused into the convolution.
- A squeeze-excite gate relu6(z + 3) / 6 is a convolution with fused relu6: its bias is shifted by 3, and the division
  by 6 is moved into the weights of the projection that follows.
- A classifier's average pooling returns (1, features), so that the linear layer needs no reshape. A hidden linear layer
  is a convolution on one pixel, (1, 1, 1, features): TFLM and LiteRT round the outputs of convolutions alike, but those
  of linear layers differ by a step now and then, which the classifier would multiply.
- A detector's coarse map is resized to the size of the finer one directly, and its outputs are two maps for each
  feature map, the coarsest first: the distances to the sides of boxes (1, H, W, 4), and the classes (1, H, W, classes).
- Of a network of padding "same", which turns the image by 180 degrees, the kernels are turned instead of the image.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

from .arch import SAME, Arch
from .blocks import Block, Stem
from .detector_head import SIDES, DetectorHead
from .heads import AnyHead, Head
from .layer_cost import FeatureMap
from .lowering_steps import Lowering
from .operators import LoweredNetwork, TensorSpec
from .own_code import errors_of_block

INPUT_NAME = "images"


@lru_cache(maxsize=64)
def lower(arch: Arch) -> LoweredNetwork:
    """Return the operators of an arch's network.

    Args:
        arch: Classifier or detector.

    Returns:
        Operators in the order of execution, for one image (1, height, width, in_channels).
    """
    turned = arch.padding == SAME
    image = map_spec(FeatureMap.of(arch.in_channels, arch.resolution), INPUT_NAME)
    taps = arch.taps()
    tapped = []
    operators = list(lower_stem(arch.stem, image, turned=turned).operators)
    for s, stage in enumerate(arch.stages):
        for b, block in enumerate(stage):
            operators += lower_block(block, operators[-1].output, f"stages.{s}.{b}", turned=turned).operators
        if s in taps:
            tapped.append(operators[-1].output)
    head = lower_head(arch.head, tapped, arch.classes)
    return LoweredNetwork(inputs=(image,), operators=(*operators, *head.operators), outputs=head.outputs)


def lower_stem(stem: Stem, image: TensorSpec, *, turned: bool) -> LoweredNetwork:
    """Return the operators of a stem.

    Args:
        stem: The stem.
        image: What it reads.
        turned: Whether kernels are turned, as in networks of padding "same".
    """
    lowering = Lowering(turned=turned)
    return lowering.finish([image], [stem.lower(lowering, image)])


def lower_block(block: Block, x: TensorSpec, name: str, *, turned: bool) -> LoweredNetwork:
    """Return the operators of a block.

    Args:
        block: The block.
        x: What it reads.
        name: Its name in the network, with which those of its operators begin.
        turned: Whether kernels are turned, as in networks of padding "same".

    Raises:
        UnregisteredError: The block is the user's own, and raised an exception.
    """
    lowering = Lowering(turned=turned)
    with errors_of_block(type(block), "lower"):
        output = block.lower(lowering, x, name)
    return lowering.finish([x], [output])


def lower_head(head: AnyHead, maps: Sequence[TensorSpec], classes: int) -> LoweredNetwork:
    """Return the operators of a head, whose kernels are never turned.

    Args:
        head: The head.
        maps: The feature maps that it reads.
        classes: Number of classes.
    """
    lowering = Lowering(turned=False)
    return lowering.finish(maps, _LOWER_HEAD[type(head)](lowering, maps, head, classes))


def _lower_classifier(
    lowering: Lowering, maps: Sequence[TensorSpec], head: Head, classes: int
) -> tuple[TensorSpec, ...]:
    x = maps[0]
    if head.conv:
        x = lowering.conv_norm(x, "head.conv", head.conv, act=head.act)
    if head.hidden:
        x = lowering.add("MEAN", "head.pool", [x], (1, 1, 1, x.channels))
        x = lowering.hidden(x, "head.hidden", head.hidden, act=head.act)
    else:
        x = lowering.add("MEAN", "head.pool", [x], (1, x.channels))
    return (lowering.linear(x, "head.classifier", classes),)


def _lower_detector(
    lowering: Lowering, maps: Sequence[TensorSpec], head: DetectorHead, classes: int
) -> tuple[TensorSpec, ...]:
    """Append a detector's head, the coarsest map first. Return boxes and classes of each map."""
    outputs = []
    coarser: TensorSpec | None = None
    for level, tapped in enumerate(reversed(maps)):
        x = lowering.conv_norm(tapped, f"head.lateral.{level}", head.width, act=head.act)
        if coarser is not None:
            doubled = lowering.add("RESIZE_NEAREST_NEIGHBOR", f"head.double.{level}", [coarser], x.shape)
            x = lowering.sum(doubled, x, f"head.merge.{level}")
        coarser = x
        for number in range(head.convs):
            name = f"head.convs.{level}.{number}"
            x = lowering.depthwise_norm(x, f"{name}.depthwise", kernel=head.kernel, act=head.act)
            x = lowering.conv_norm(x, f"{name}.pointwise", head.width, act=head.act)
        for name, channels in ((f"head.boxes.{level}", SIDES), (f"head.classifier.{level}", classes)):
            outputs.append(lowering.conv(x, name, channels, layer=name))
    return tuple(outputs)


_LOWER_HEAD: dict[type[AnyHead], Callable[..., Sequence[TensorSpec]]] = {
    Head: _lower_classifier,
    DetectorHead: _lower_detector,
}


def map_spec(feature_map: FeatureMap, name: str = "") -> TensorSpec:
    """Return the tensor of a feature map."""
    return TensorSpec(name=name, shape=(1, feature_map.height, feature_map.width, feature_map.channels))
