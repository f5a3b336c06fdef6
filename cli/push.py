"""The push command: share a model on the Hugging Face Hub."""

from typing import Annotated

import typer

from tinynas.utils.paths import HUB
from tinynas.utils.text import counted
from tinynas.utils.units import format_bytes

from .options import AsJson, ModelFile
from .screen import Screen


def push(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Repository, USER/NAME; it is created if it is new.")],
    model: ModelFile = None,
    private: Annotated[bool, typer.Option("--private", help="Create a repository that only you can read.")] = False,
    as_json: AsJson = False,
) -> None:
    """Upload a model to the Hugging Face Hub: its file, model card, results and exported files.

    Names of folders are left out. Whoever may read the repository loads it as hf:USER/NAME, in Python with
    tinynas.load and wherever a command takes a model.
    """
    from tinynas.experiment.runs import find_model
    from tinynas.pipelines.push import push as push_model

    screen = Screen(as_json)
    pushed = push_model(find_model(model), repo.removeprefix(HUB), private=private)
    rows = []
    for name, size in pushed.files.items():
        rows.append({"file": name, "size": format_bytes(size)})
    screen.table(f"Uploaded: {counted(len(rows), 'file')}", rows)
    screen.note(f"uploaded to {pushed.address}")
    screen.next_command("eval", HUB + pushed.repo)
    screen.document({"repo": pushed.repo, "address": pushed.address, "files": pushed.files})
