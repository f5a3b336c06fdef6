"""Trained models on the Hugging Face Hub: downloaded by names such as "hf:USER/REPO@REVISION", and uploaded."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ..utils.errors import FileError, InputError
from ..utils.io import write
from ..utils.paths import HUB, cache_folder
from ..utils.quiet import logging_disabled, output_discarded
from ..utils.text import first_line

MODEL_FILES = ("sidenet.safetensors", "model.safetensors")  # the first that a repository has is its model
_DOWNLOADED = ("*.safetensors", "*.json", "README.md")
_TOKEN = "log in with `hf auth login`, or set the environment variable HF_TOKEN"


def download_model(name: str) -> Path:
    """Download the model of a repository, with its results, into the cache; what is there is not downloaded again.

    Args:
        name: "hf:USER/REPO", or "hf:USER/REPO@REVISION" with a branch, tag or commit.

    Returns:
        The model's file.

    Raises:
        FileError: The repository, the revision or a model in it does not exist, or the Hub cannot be reached.
        InputError: The name is not that of a repository, or the extra `hub` is not installed.
    """
    repo, _, revision = name.removeprefix(HUB).partition("@")
    with _hub_errors(name):
        from huggingface_hub import snapshot_download

        snapshot = snapshot_download(
            repo, revision=revision or None, cache_dir=downloads(), allow_patterns=list(_DOWNLOADED)
        )
    for file in MODEL_FILES:
        path = Path(snapshot) / file
        if path.exists():
            return path
    raise FileError(f"{name} has no model of tinynas: neither {' nor '.join(MODEL_FILES)}; `tinynas push` uploads one")


def upload_files(files: Mapping[str, bytes], repo: str, *, private: bool) -> tuple[str, str]:
    """Write files into a repository, which is created if it does not exist, as one commit.

    Args:
        files: Their contents by name.
        repo: "USER/REPO", or "REPO" of the user who is logged in.
        private: Whether a repository that is created is private.

    Returns:
        The full name of the repository, and its address.

    Raises:
        FileError: The Hub refuses the files, or cannot be reached.
        InputError: Nobody is logged in, the name is not that of a repository, the repository exists and is public but
            a private one is asked for, or the extra `hub` is not installed.
    """
    with _hub_errors(repo):
        from huggingface_hub import HfApi, get_token

        if get_token() is None:
            raise InputError(f"uploading needs a token of the Hub; {_TOKEN}")
        api = HfApi()
        address = api.create_repo(repo, private=private, exist_ok=True)
        if private and not api.model_info(address.repo_id).private:
            raise InputError(f"{address.repo_id} is public already; leave out --private, or choose another repository")
        with TemporaryDirectory() as folder:
            for name, content in files.items():
                write(Path(folder) / name, content)
            api.upload_folder(repo_id=address.repo_id, folder_path=folder, commit_message="Upload a model of tinynas")
    return address.repo_id, str(address)


def downloads() -> Path:
    """Return the folder of downloaded models."""
    return cache_folder() / "hub"


def is_downloaded(path: Path) -> bool:
    """Return whether a file or folder is among the downloaded models, where nothing else is to be written."""
    return path.absolute().is_relative_to(downloads().absolute())


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """Turn errors of the Hub's library into ones of one line, and leave out its own messages and progress bars."""
    try:
        with logging_disabled(), output_discarded():
            yield
    except (FileError, InputError):
        raise
    except ImportError as error:
        raise InputError(f"the Hub needs the package huggingface_hub: pip install 'tinynas[hub]' ({error})") from None
    except Exception as error:  # its HTTP library, and with it the errors of connections, differs between versions
        raise _explained(name, error) from None


def _explained(name: str, error: Exception) -> FileError | InputError:
    """Return an error of the Hub's library as one of tinynas."""
    from huggingface_hub import errors

    reason = first_line(str(error)).rstrip(".")
    if isinstance(error, errors.HFValidationError):
        return InputError(f"{name} is no repository of the Hub: {reason}")
    if isinstance(error, errors.RevisionNotFoundError):
        return FileError(f"{name} has no such revision on the Hub; name a branch, a tag or a commit")
    if isinstance(error, errors.RepositoryNotFoundError):
        return FileError(f"there is no {name} on the Hub that you may read; check the name, or {_TOKEN}")
    if isinstance(error, errors.HfHubHTTPError):
        return FileError(f"the Hub refuses {name}: {reason}; check the name, or {_TOKEN}")
    return FileError(f"cannot reach the Hub for {name}: {reason}; check the network")
