"""The benchmarks: python -m benchmarks {speed,paper,authors,tune,gate} [options].

speed     time and memory of the hot paths beside the machine's limits and other implementations
paper     every model on the paper's MovieLens-1M split, beside published numbers
authors   the DiffRec authors' own code with several seeds
tune      better settings on that split, by validation
gate      error rates, delays and regret of what decides at night, in simulated years
"""

import sys
from importlib import import_module
from typing import Final

from pipeline_steps.runtime.command import execute

VERBS: Final = ("speed", "paper", "authors", "tune", "gate")


def main() -> None:
    """Run the verb's module with the rest of the command line."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb not in VERBS:
        sys.exit(__doc__)
    sys.argv[:2] = [f"python -m benchmarks {verb}"]
    execute(import_module(f"benchmarks.{verb}").run)


if __name__ == "__main__":
    main()
