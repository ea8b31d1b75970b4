"""Fit a model of 6,000 items above a memory limit, then a small one: run as a process of its own.

The first argument is the model's section as JSON. The error goes to standard output.
"""

import json
import sys

import numpy as np

from diffrec_core.common.errors import NotEnoughMemoryError
from diffrec_core.data.histories import Histories
from diffrec_core.data.vocabulary import Vocabulary
from diffrec_core.models.base import TrainingData
from diffrec_core.models.kinds import create
from diffrec_core.training.trainer import TrainingOptions
from tests.planted import planted_data

N_USERS, N_ITEMS, LENGTH = 400, 6000, 15
LIMIT = TrainingOptions(memory_limit_gib=0.2)  # 70 MB of it go to what torch imports for Adam


def main() -> int:
    """Return 0 if the large fit failed by its limit and the small one then succeeded under it."""
    items = np.arange(N_USERS * LENGTH).reshape(N_USERS, LENGTH)
    data = TrainingData(
        histories=Histories.from_lists(items.tolist()),
        items=Vocabulary(tuple(str(item) for item in range(N_ITEMS))),
    )
    section = json.loads(sys.argv[1])
    try:
        create(section, "x").fit(data, LIMIT)
    except NotEnoughMemoryError as error:
        sys.stdout.write(str(error))
    else:
        return 1
    np.empty(2**29, dtype=np.uint8)  # the limit was the fit's alone
    create({"kind": "ease"}, "x").fit(planted_data(), LIMIT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
