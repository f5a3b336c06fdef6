"""What a delivered model says of image files, and pictures of it."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.loading import read_image
from ..data.transforms import center_crop, stretch
from ..early_exit.model_file import ExitModel, has_exits, read_exits
from ..models.model_file import Model, read_model
from ..tasks.detection import Detections, detections
from ..utils.errors import require
from ..utils.io import check_writable, write, write_json

_SCORE = 0.3  # from which a box is told
_TOP = 3  # classes that are told of an image
_COLOURS = (
    "#e6194b",
    "#3cb44b",
    "#4363d8",
    "#f58231",
    "#911eb4",
    "#008080",
    "#9a6324",
    "#800000",
    "#808000",
    "#000075",
)


@torch.no_grad()
def predict(
    model_file: Path, images: Sequence[Path], out: Path, *, threshold: float | None = None
) -> list[dict[str, Any]]:
    """The classes of each image file, the likeliest first, or the boxes whose scores are over the threshold, 0.3.

    Of a network with early exits also which exit answered, at the network's own threshold. Boxes are left, top, right
    and bottom in pixels. Written as predictions.json; a detector's boxes are drawn, too, into a PNG for each image.
    Raises FileError.
    """
    exits = read_exits(model_file) if has_exits(model_file) else None
    model = exits.mainnet if exits else read_model(model_file)
    check_writable(out)
    detects = model.net.arch.task == "detect"
    require(detects or threshold is None, "a threshold is for a detector's boxes", threshold=threshold)
    threshold = _SCORE if threshold is None else threshold
    require(0 <= threshold < 1, "0 <= threshold < 1", threshold=threshold)
    answers: list[dict[str, Any]] = []
    for number, path in enumerate(images, 1):
        image = read_image(path, model.net.arch.in_channels)
        if detects:
            found = _boxes(model, image, threshold)
            picture = out / f"{number:03}-{Path(path).stem}.png"
            write(picture, drawn(image, found, model.classes))
            answers.append({"image": str(path), "boxes": _told(found, model.classes), "picture": str(picture)})
        elif exits:
            answers.append({"image": str(path), **_exited(exits, image)})
        else:
            answers.append({"image": str(path), "classes": _classes(model, model.net(network_input(model, image)))})
    write_json(out / "predictions.json", answers)
    return answers


def network_input(model: Model, image: Tensor) -> Tensor:
    """uint8 (C, H, W) -> normalised (1, C, resolution, resolution): its middle, or all of it if it detects."""
    arch = model.net.arch
    detects = arch.task == "detect"
    pixels = stretch(image, arch.resolution) if detects else center_crop(image, arch.resolution, model.crop)
    return model.normalise(pixels[None])


def _exited(exits: ExitModel, image: Tensor) -> dict[str, Any]:
    """What the exit that is sure enough says, with its calibrated confidence, and which one that is."""
    model = exits.receiver
    pixels = model.normalise(center_crop(image, exits.resolution, model.crop)[None])
    logits, (number,) = exits.exits(pixels, threshold=exits.threshold)
    said = _classes(model, logits / exits.exits.temperatures[number])
    return {"classes": said, "exit": exits.names[number]}


def _classes(model: Model, logits: Tensor) -> dict[str, float]:
    """The likeliest by logits (1, classes), with their probabilities."""
    shares = logits[0].softmax(0)
    top = shares.topk(min(_TOP, len(shares)))
    return {model.classes[i]: float(share) for share, i in zip(*top, strict=True)}


def _boxes(model: Model, image: Tensor, threshold: float) -> Detections:
    """In pixels of the image."""
    arch = model.net.arch
    (found,) = detections(model.net(network_input(model, image)), arch.detector, arch.resolution, threshold=threshold)
    height, width = image.shape[1:]
    return found._replace(boxes=found.boxes * torch.tensor([width, height, width, height]))


def _told(found: Detections, classes: Sequence[str]) -> list[dict[str, Any]]:
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True)
    return [{"class": classes[c], "score": score, "box": box} for box, score, c in rows]


def _font() -> str:
    """A font file that is always there, matplotlib's."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf")


def drawn(image: Tensor, found: Detections, classes: Sequence[str], side: int = 480) -> bytes:
    """A PNG of the image (C, H, W), enlarged to about `side` pixels, with boxes in pixels, class names and scores."""
    from torchvision.transforms import v2
    from torchvision.utils import draw_bounding_boxes

    scale = max(1, side // max(image.shape[1:]))
    large = v2.Resize([scale * pixels for pixels in image.shape[1:]], v2.InterpolationMode.NEAREST)(image)
    canvas = large.expand(3, -1, -1).contiguous()
    if len(found.boxes):
        labels = [f"{classes[c]} {score:.2f}" for c, score in zip(found.classes, found.scores, strict=True)]
        colours = [_COLOURS[int(c) % len(_COLOURS)] for c in found.classes]
        canvas = draw_bounding_boxes(
            canvas,
            scale * found.boxes,
            labels,
            colours,
            width=2,
            font=_font(),
            font_size=16,
            label_colors="white",
            label_background_colors=colours,
            fill_labels=True,
        )
    png = io.BytesIO()
    v2.functional.to_pil_image(canvas).save(png, "PNG")
    return png.getvalue()
