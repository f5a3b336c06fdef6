"""The predict command: predict the content of image files, and draw boxes into them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.images import read_image
from ..utils.errors import InputError, require
from ..utils.io import check_writable, write, write_json
from .trained_model import load_trained

_SCORE = 0.3  # that a box must exceed by default
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


def predict(
    model_file: Path, images: Sequence[Path], out: Path, *, threshold: float | None = None
) -> list[dict[str, Any]]:
    """Predict each image file, and write the predictions as predictions.json.

    Args:
        model_file: The model file.
        images: The image files.
        out: Folder of predictions.json and, for a detector, of a PNG for each image with its boxes.
        threshold: Score that a detector's boxes must exceed; by default 0.3.

    Returns:
        For each image its file and, from a classifier, the most probable classes with their probabilities; with early
        exits also the exit that it took. From a detector the boxes: left, top, right, bottom in pixels.

    Raises:
        FileError: The model or an image cannot be read, or the folder cannot be written to.
        InputError: The threshold is for a detector, or not from 0 to 1.
    """
    model = load_trained(model_file)
    check_writable(out)
    if threshold is not None and not model.task.predicts_boxes:
        raise InputError("a threshold selects the boxes of a detector, but the model is a classifier; leave it out")
    score = _SCORE if threshold is None else threshold
    require(0 <= score < 1, "0 <= threshold < 1", threshold=score)
    predictions = []
    for number, path in enumerate(images, 1):
        image = read_image(path, model.main.net.arch.in_channels)
        prediction = {"image": str(path), **model.predict(image, score)}
        if model.task.predicts_boxes:
            picture = out / f"{number:03}-{Path(path).stem}.png"
            write(picture, draw_boxes(image, prediction["boxes"], model.main.classes))
            prediction["picture"] = str(picture)
        predictions.append(prediction)
    write_json(out / "predictions.json", predictions)
    return predictions


def draw_boxes(image: Tensor, boxes: Sequence[dict[str, Any]], classes: Sequence[str], side: int = 480) -> bytes:
    """Draw boxes with their class names and scores.

    Args:
        image: The image, uint8 (C, H, W).
        boxes: For each box its "class" name, its "score", and "box": left, top, right, bottom in pixels.
        classes: All class names, which decide on the colours.
        side: Pixels along a side to which the image is enlarged, about.

    Returns:
        The content of a PNG file.
    """
    from torchvision.transforms import v2
    from torchvision.utils import draw_bounding_boxes

    scale = max(1, side // max(image.shape[1:]))
    enlarge = v2.Resize([scale * pixels for pixels in image.shape[1:]], v2.InterpolationMode.NEAREST)
    canvas = enlarge(image).expand(3, -1, -1).contiguous()
    labels, colours, corners = [], [], []
    for entry in boxes:
        labels.append(f"{entry['class']} {entry['score']:.2f}")
        colours.append(_COLOURS[classes.index(entry["class"]) % len(_COLOURS)])
        corners.append(entry["box"])
    if boxes:
        canvas = draw_bounding_boxes(
            canvas,
            scale * torch.tensor(corners),
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


def _font() -> str:
    """Return the path of matplotlib's font file, which is always installed."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf")
