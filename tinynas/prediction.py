"""What a delivered model says of image files, and pictures of it."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .delivered import Model, read_model
from .detection import Found, detections
from .errors import FileError, require
from .files import check_writable, write, write_json

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


def predict(path: Path, images: Sequence[Path], out: Path, *, threshold: float = 0.3) -> list[dict[str, Any]]:
    """The classes of each image file, the likeliest first, or the boxes whose scores are over the threshold.

    Boxes are left, top, right and bottom in pixels. Written as predictions.json; a detector's boxes are drawn,
    too, into a PNG for each image. Raises FileError.
    """
    require(0 <= threshold < 1, "0 <= threshold < 1", threshold=threshold)
    model = read_model(path)
    check_writable(out)
    say = _boxes if model.net.arch.task == "detect" else _classes
    answers = [{"image": str(image), **say(model, image, out, i, threshold)} for i, image in enumerate(images)]
    write_json(out / "predictions.json", answers)
    return answers


def read_image(path: Path, colours: int) -> Tensor:
    """uint8 (colours, H, W). Raises FileError."""
    from PIL import Image

    try:
        with Image.open(path) as file:
            pixels = np.array(file.convert("L" if colours == 1 else "RGB"))
    except Exception:  # a damaged image makes PIL raise almost anything
        raise FileError(f"cannot read the image {path}; give a picture file") from None
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], colours)).permute(2, 0, 1)


def network_input(model: Model, image: Tensor) -> Tensor:
    """uint8 (C, H, W) -> normalised (1, C, resolution, resolution): its middle, or all of it if it detects."""
    from torchvision.transforms import v2

    size = model.net.arch.resolution
    if model.net.arch.task == "detect":
        pixels = v2.Resize((size, size))(image)
    else:
        pixels = v2.CenterCrop(size)(v2.Resize(round(size / model.crop))(image))
    return model.normalise(pixels[None])


@torch.no_grad()
def _classes(model: Model, path: Path, out: Path, number: int, threshold: float) -> dict[str, Any]:
    image = read_image(path, model.net.arch.in_channels)
    shares = model.net(network_input(model, image))[0].softmax(0)
    top = shares.topk(min(_TOP, len(shares)))
    return {"classes": {model.classes[i]: float(share) for share, i in zip(*top, strict=True)}}


@torch.no_grad()
def _boxes(model: Model, path: Path, out: Path, number: int, threshold: float) -> dict[str, Any]:
    arch = model.net.arch
    image = read_image(path, arch.in_channels)
    (found,) = detections(model.net(network_input(model, image)), arch.detector, arch.resolution, threshold=threshold)
    height, width = image.shape[1:]
    found = found._replace(boxes=found.boxes * torch.tensor([width, height, width, height]))
    picture = out / f"{number + 1:03}-{Path(path).stem}.png"
    write(picture, drawn(image, found, model.classes))
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True)
    boxes = [{"class": model.classes[c], "score": score, "box": box} for box, score, c in rows]
    return {"boxes": boxes, "picture": str(picture)}


def _font() -> str:
    """A font file that is always there, matplotlib's."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf")


def drawn(image: Tensor, found: Found, classes: Sequence[str], side: int = 480) -> bytes:
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
