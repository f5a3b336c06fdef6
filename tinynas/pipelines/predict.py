"""The predict command: predict the content of image files, and draw boxes into them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import ImageDraw, ImageFont
from torch import Tensor

from ..data.images import read_image
from ..tasks.detection import SCORE_THRESHOLD
from ..utils.errors import InputError
from ..utils.fonts import BOLD, font_file, font_runs, is_drawable
from ..utils.io import check_writable, write, write_json
from ..utils.text import printable
from .trained_model import load_trained

_LINE, _FONT_SIZE = 2, 16  # pixels of a box's line and of the text in it
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
    score = SCORE_THRESHOLD if threshold is None else threshold
    if not 0 <= score < 1:
        raise InputError(f"the threshold must be at least 0 and less than 1, but is {score}; choose another")
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
        classes: All class names, which decide on the colours. "class NUMBER" is drawn in place of a name whose
            characters no installed font has.
        side: Pixels along a side to which the image is enlarged, about.

    Returns:
        The content of a PNG file.
    """
    from torchvision.transforms import v2
    from torchvision.utils import draw_bounding_boxes

    scale = max(1, side // max(image.shape[1:]))
    enlarge = v2.Resize([scale * pixels for pixels in image.shape[1:]], v2.InterpolationMode.NEAREST)
    canvas = enlarge(image).expand(3, -1, -1).contiguous()
    corners, colours = [], []
    for entry in boxes:
        corners.append(entry["box"])
        colours.append(_COLOURS[classes.index(entry["class"]) % len(_COLOURS)])
    if boxes:
        canvas = draw_bounding_boxes(canvas, scale * torch.tensor(corners), colors=colours, width=_LINE)
    picture = v2.functional.to_pil_image(canvas)
    for entry, (left, top, _, _), colour in zip(boxes, corners, colours, strict=True):
        name = printable(entry["class"])
        if not is_drawable(name):
            name = f"class {classes.index(entry['class'])}"
        corner = (int(scale * left) + _LINE + 1, int(scale * top) + _LINE + 1)
        _draw_label(ImageDraw.Draw(picture), corner, f"{name} {entry['score']:.2f}", colour)
    png = io.BytesIO()
    picture.save(png, "PNG")
    return png.getvalue()


def _draw_label(draw: ImageDraw.ImageDraw, corner: tuple[int, int], label: str, colour: str) -> None:
    """Draw a text in white on a colour, from its upper left corner on; some characters may need other fonts."""
    left, top = corner
    baseline = top + ImageFont.truetype(str(font_file(BOLD)), _FONT_SIZE).getmetrics()[0]
    texts, bounds = [], []
    for run in font_runs(label, BOLD):
        font = ImageFont.truetype(str(run.font), _FONT_SIZE)
        texts.append(((left, baseline), run.text, font))
        bounds.append(draw.textbbox((left, baseline), run.text, font=font, anchor="ls"))
        left += round(font.getlength(run.text))
    lefts, tops, rights, bottoms = zip(*bounds, strict=True)
    draw.rectangle((min(lefts) - 1, min(tops) - 1, max(rights) + 1, max(bottoms) + 1), fill=colour)
    for position, text, font in texts:
        draw.text(position, text, fill="white", font=font, anchor="ls")
