"""Options that all benchmarks have."""

from pathlib import Path

from pipeline_steps.runtime.command import Inputs


class BenchInputs(Inputs):
    """The data and the output."""

    data: str = ""
    """Folder of the MovieLens-1M split; by default DIFFREC_BENCH_DATA."""

    out: Path = Path("reports/bench")
    """Folder of results."""
