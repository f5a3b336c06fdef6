"""Do imported networks compute what the originals compute? Networks of timm, ofa, mcunet and NetAug's code.

The networks have random weights, and batch norm statistics of random images. They are built and saved by their own
library, imported from the files, and run beside the original on two random images of the network's size, in fp32.
MACs are compared with fvcore's count of the original, parameters with the number that PyTorch says it has. Needs timm,
ofa and mcunet (pip install timm ofa mcunet); --netaug-code is the folder `netaug` of github.com/mit-han-lab/tinyml,
without which the networks of NetAug's code are left out.

Takes about 6 minutes on one core. Writes the table `imports` of docs/results/import.md.
"""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common.cells import Cells
from common.command import run_benchmark
from common.reference_networks import (
    NETAUG_NETWORKS,
    Pair,
    config_of_mcunet,
    extracted_by_ofa,
    network_of_mcunet,
    network_of_ofa,
    of_netaug,
    of_timm,
    subnet_of_ofa,
    use_netaug_code,
)
from common.tables import Table

from tinynas import cost, load_arch
from tinynas.models.network import example_input
from tinynas.models.profile import macs_by_fvcore

TIMM = {  # pattern of timm's names, by family
    "MobileNetV1": r"mobilenetv1_\w+",
    "MobileNetV2": r"mobilenetv2_\w+",
    "MobileNetV3": r"mobilenetv3_(large|small)_\w+",
    "MobileNetV3, padded as in TensorFlow": r"tf_mobilenetv3_\w+",
    "EfficientNet-Lite": r"efficientnet_lite\d",
    "EfficientNet-Lite, padded as in TensorFlow": r"tf_efficientnet_lite\d",
    "EfficientNet-EdgeTPU, MobileNet-EdgeTPU": r"efficientnet_e[slm](_pruned)?|mobilenet_edgetpu_100",
    "EfficientNet-EdgeTPU, padded as in TensorFlow": r"tf_efficientnet_e[slm]",
    "MnasNet": r"mnasnet_\d+",
    "FBNet-C, Single-Path NAS, HardCoRe-NAS": r"fbnetc_100|spnasnet_100|hardcorenas_[a-f]",
    "MobileOne, folded": r"mobileone_s[0-3]",
}
SEEDS = range(3)
CAPTION = """\
Differences are the largest of all logits of a family's networks; and the largest relative to the standard deviation of
a network's logits, in fp32 and, with the same weights, in fp64. Parameters that tinynas has more than the original: of
OFA's MobileNetV3 the biases of the hidden layer, which are 0; of MobileOne a scale and a shift of batch norm, where the
folded original has a bias."""


def networks_of_timm() -> dict[str, Callable[[Path], Pair]]:
    """Return what builds and imports the networks of timm, by the names of the cells."""
    import timm

    builders: dict[str, Callable[[Path], Pair]] = {}
    for family, pattern in TIMM.items():
        for name in timm.list_models():
            if re.fullmatch(pattern, name):
                builders[f"timm {family}: {name}"] = partial(of_timm, name=name)
    return builders


def networks_of_ofa() -> dict[str, Callable[[Path], Pair]]:
    """Return what builds and imports the networks of ofa, by the names of the cells."""
    from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3, OFAProxylessNASNets
    from ofa.imagenet_classification.networks import MobileNetV2, MobileNetV3Large

    builders: dict[str, Callable[[Path], Pair]] = {}
    for supernet, width in ((OFAMobileNetV3, 1.0), (OFAMobileNetV3, 1.2), (OFAProxylessNASNets, 1.3)):
        settings = {"supernet": supernet, "width_mult": width}
        for seed in SEEDS:
            name = f"{supernet.__name__}, w{width}, subnet {seed}"
            family = f"subnets of {supernet.__name__}"
            builders[f"ofa {family}: {name}"] = partial(subnet_of_ofa, seed=seed, **settings)
        builders[f"ofa extracted from {supernet.__name__}: {name}"] = partial(
            extracted_by_ofa, seed=SEEDS[-1], **settings
        )
    for network in (MobileNetV2, MobileNetV3Large):
        builders[f"ofa {network.__name__}: w1.0"] = partial(network_of_ofa, network=network)
    return builders


def networks_of_mcunet() -> dict[str, Callable[[Path], Pair]]:
    """Return what builds and imports the networks of mcunet, by the names of the cells."""
    from mcunet.tinynas.elastic_nn.networks import OFAProxylessNASNets
    from mcunet.tinynas.nn.networks import MobileNetV2, ProxylessNASNets

    def published(folder: Path) -> Pair:
        arch = load_arch("mcunet-in3")
        module = ProxylessNASNets.build_from_config(config_of_mcunet(arch))
        return network_of_mcunet(folder, module, arch.resolution)

    def scaled(folder: Path) -> Pair:
        return network_of_mcunet(folder, MobileNetV2(width_mult=0.35), 144)

    builders = {"mcunet ProxylessNASNets: mcunet-in3": published, "mcunet MobileNetV2: w0.35": scaled}
    for seed in SEEDS:
        builders[f"mcunet subnets of OFAProxylessNASNets: subnet {seed}"] = partial(
            subnet_of_ofa, supernet=OFAProxylessNASNets, seed=seed, width_mult_list=0.5, no_mix_layer=True
        )
    return builders


def networks_of_netaug() -> dict[str, Callable[[Path], Pair]]:
    """Return what builds and imports the networks of NetAug's code, by the names of the cells."""
    builders = {}
    for name in NETAUG_NETWORKS:
        builders[f"netaug its five networks: {name}"] = partial(of_netaug, name=name, is_augmented=False)
        builders[f"netaug the five, cut from augmented networks: {name}"] = partial(
            of_netaug, name=name, is_augmented=True
        )
    return builders


@torch.no_grad()
def compare(build: Callable[[Path], Pair]) -> dict:
    """Build, save and import a network; compare logits, MACs and parameters."""
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        pair = build(Path(folder))
    arch, network = pair.imported.arch, pair.imported.to_network()
    images = torch.randn(example_input(arch, 2).shape, generator=torch.Generator().manual_seed(0))
    expected = pair.original(images)
    difference = float((network(images) - expected).abs().max())
    counted = cost(arch)
    in_fp64 = deepcopy(pair.original).double()(images.double())
    return {
        "difference": difference,
        "of deviation": difference / float(expected.std()),
        "in fp64": float((network.double()(images.double()) - in_fp64).abs().max() / expected.std()),
        "macs": counted.macs,
        "macs of the original": macs_by_fvcore(pair.original, example_input(arch)),
        "params": counted.params,
        "params of the original": sum(parameter.numel() for parameter in pair.original.parameters()),
    }


def measure(cells: Cells, netaug_code: str | None) -> None:
    """Measure the missing cells."""
    builders = networks_of_timm() | networks_of_ofa() | networks_of_mcunet()
    if netaug_code:
        use_netaug_code(netaug_code)
        builders |= networks_of_netaug()
    for name, build in builders.items():
        cells.measure(name, compare, build)


def tables(cells: Mapping[str, dict]) -> list[Table]:
    """Return the table: a row for each family of which a network is measured."""
    families: dict[str, list[dict]] = {}
    for name, cell in cells.items():
        families.setdefault(name.partition(":")[0], []).append(cell)
    columns = ["from", "networks", "compared", "largest difference", "of the deviation", "in fp64", "MACs", "params"]
    rows = []
    for family, members in families.items():
        source, _, networks = family.partition(" ")
        largest = max(cell["difference"] for cell in members)
        relative = max(cell["of deviation"] for cell in members)
        in_fp64 = max(cell["in fp64"] for cell in members)
        counts = [beside(members, "macs"), beside(members, "params")]
        differences = [f"{value:.1e}" for value in (largest, relative, in_fp64)]
        rows.append([f"`{source}:`", networks, str(len(members)), *differences, *counts])
    return [Table(page="import", name="imports", columns=columns, rows=rows, caption=CAPTION)] if rows else []


def beside(members: list[dict], key: str) -> str:
    """Return how a count differs from that of the originals."""
    differences = sorted({cell[key] - cell[f"{key} of the original"] for cell in members})
    if differences == [0]:
        return "equal"
    texts = [f"{difference:+,}" for difference in differences]
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}"


if __name__ == "__main__":
    run_benchmark(
        "imports",
        __doc__,
        measure=measure,
        tables=tables,
        options={"netaug_code": "the folder `netaug` of the authors' code; without it its networks are left out"},
    )
