"""Data sets that a Python program passes on: by name, or its own, which get a name."""

from ..data.datasets import Datasets
from ..data.registry import register_data_set

DataSet = str | Datasets  # "NAME", "NAME:PATH", or a program's own


def data_name(data: DataSet | None) -> str | None:
    """Return the name by which a data set can be loaded in this process.

    A program's own is read now, unless it was before, and known by its name from now on.

    Raises:
        InputError: A sample of it is not as `Datasets` says.
    """
    if not isinstance(data, Datasets):
        return data
    loaded = data.load()
    register_data_set(data.name, lambda path: loaded)
    return data.name
