"""The import command: another library's network as a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from tinynas.arch.cost import cost, describe
from tinynas.utils.sizes import format_size, pair, parse_size

from .options import AsJson
from .screen import Screen

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="timm:NAME[:FILE], a network of timm, with the weights of FILE or those that timm downloads; "
        "netaug:FILE, a checkpoint of NetAug's authors; mcunet:FILE, a network of mcunet; ofa:FILE[:SUBNET], a "
        "subnet of a supernet of once-for-all, or a network that it has extracted.",
    ),
]
ClassNames = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Text file with the name of a class in every line. Default: the names of ImageNet's, if there are "
        "1,000; otherwise numbers.",
        show_default=False,
    ),
]


def import_model(
    source: Source,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to. Default: imported/NAME.", show_default=False)
    ] = None,
    resolution: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Size of its images, 96 or 96x160. Default: the network's own.", show_default=False
        ),
    ] = None,
    classes: ClassNames = None,
    as_json: AsJson = False,
) -> None:
    """Import another library's network with its weights, as a model that every command takes.

    It can be evaluated, exported, retrained (retrain --from), get early exits, teach (retrain --teacher), and start a
    supernet (search --init).
    """
    from tinynas.pipelines.import_model import import_network

    screen = Screen(as_json)
    size = parse_size(resolution) if resolution else None
    model = import_network(source, out, resolution=size, classes=classes)
    counted = cost(model.arch)
    rows = []
    for name, title in (("macs", "MACs (FLOPs)"), ("params", "params"), ("peak_sram", "peak SRAM"), ("flash", "flash")):
        rows.append({"": title, "one image, int8": describe(name, counted.named()[name])})
    screen.table(
        f"{model.path.parent.name} at {format_size(pair(model.arch.resolution))}, {len(model.classes)} classes", rows
    )
    if model.is_checked:
        screen.note("checked: for random images the outputs are those of the original, but for rounding")
    screen.note(f"model: {model.path}")
    screen.next_command("retrain", "--from", model.path.parent, "--data", "imagefolder:PATH")
    document = {"source": source, "model": str(model.path), "resolution": model.arch.resolution}
    screen.document(document | {"classes": list(model.classes)} | counted.to_dict())
