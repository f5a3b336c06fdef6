"""Data sets that a Python program passes on: by name, or its own, which get a name."""

from ..data.datasets import Datasets
from ..data.registry import register_data_set
from ..utils.errors import InputError

DataSet = str | Datasets  # "NAME", "NAME:PATH", or a program's own


def data_name(data: DataSet | None) -> str | None:
    """Return the name by which a data set can be loaded in this process.

    A program's own is read now, unless it was before, and known by its name from now on.

    Raises:
        InputError: It is neither a name nor a program's own, or a sample of it is not as `Datasets` says.
    """
    if data is None or isinstance(data, str):
        return data
    if not isinstance(data, Datasets):
        raise InputError(f"data is of the type {type(data).__name__}; pass the name of a data set, or a tinynas.Data")
    loaded = data.load()
    register_data_set(data.name, lambda path: loaded)
    return data.name
