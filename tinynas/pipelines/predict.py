"""The predict command: predict the content of image files, and draw boxes into them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.images import read_image
from ..experiment.box_picture import LabelledBox, draw_boxes, png
from ..utils.errors import InputError
from ..utils.io import check_writable, write, write_json
from .trained_model import load_trained


def predict(
    model_file: Path, images: Sequence[Path], out: Path, *, threshold: float | None = None
) -> list[dict[str, Any]]:
    """Predict each image file, and write the predictions as predictions.json.

    Args:
        model_file: The model file.
        images: The image files.
        out: Folder of predictions.json and, for a detector, of a PNG for each image with its boxes.
        threshold: Score that a detector's boxes must exceed; by default the model's own.

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
    if threshold is not None and not 0 <= threshold < 1:
        raise InputError(f"the threshold must be at least 0 and less than 1, but is {threshold}; choose another")
    score = model.main.score_threshold if threshold is None else threshold
    predictions = []
    for number, path in enumerate(images, 1):
        if Path(path).is_dir():
            raise InputError(f"{path} is a folder; name the image files in it, as {path}/*.jpg does in a shell")
        image = read_image(path, model.main.net.arch.in_channels)
        prediction = {"image": str(path), **model.predict(image, score)}
        if model.task.predicts_boxes:
            picture = out / f"{number:03}-{Path(path).stem}.png"
            boxes = [LabelledBox(box["class"], box["box"], box["score"]) for box in prediction["boxes"]]
            write(picture, png(draw_boxes(image.permute(1, 2, 0).numpy(), boxes, model.main.classes)))
            prediction["picture"] = str(picture)
        predictions.append(prediction)
    write_json(out / "predictions.json", predictions)
    return predictions
