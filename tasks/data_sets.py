"""All data sets by name, as the rooms of tasks declare them."""

from cluster.errors import choices_hint
from tasks.base import DataSet
from tasks.errors import DataError
from tasks.spec import ROOMS

DATA_SETS = {data_set.name: data_set for room in ROOMS for data_set in room.data_sets}


def data_set(name: str) -> DataSet:
    """Return a data set by name.

    Raises:
        DataError: no such data set.
    """
    if name not in DATA_SETS:
        raise DataError(f"{name!r} is no data set{choices_hint(name, DATA_SETS)}")
    return DATA_SETS[name]
