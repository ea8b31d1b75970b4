"""Everything that a person or a DAG calls: python -m pipeline_steps VERB [options].

Stages of dvc.yaml are modules of their own: python -m pipeline_steps.train --help.
"""

import ast
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

from pipeline_steps.runtime.command import execute

VERBS: Final = {
    "Runs": {
        "start-run": "nights.start_run",
        "run-stage": "nights.run_stage",
        "end-work": "nights.end_work",
        "restore": "nights.restore",
        "write-graph": "nights.stage_graph",
    },
    "Champion": {
        "gate": "champion.gate",
        "promote": "champion.promote",
        "rollback": "champion.rollback",
        "history": "champion.history",
        "recommend-champion": "champion.recommend",
        "publish": "champion.publish",
    },
    "Registered versions": {
        "erase-user": "registry.erase_user",
    },
    "Monitoring": {
        "monitor": "monitoring.monitor",
        "report-unreadable-data": "monitoring.report_unreadable_data",
    },
    "Settings and studies": {
        "inspect-logs": "params.inspect_logs",
        "check-params": "params.check_params",
        "set": "params.set_params",
        "use-preset": "params.use_preset",
        "tune": "studies.tune",
        "robustness": "studies.robustness",
        "backtest": "studies.backtest",
    },
    "Sample data": {
        "fetch-sample": "sample.fetch_sample",
    },
}
"""The module of each verb, by topic."""


def main() -> None:
    """Run the verb's module with the rest of the command line."""
    modules = {verb: module for topic in VERBS.values() for verb, module in topic.items()}
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in ("-h", "--help"):
        sys.stdout.write(overview())
    elif verb in modules:
        sys.argv[:2] = [f"python -m pipeline_steps {verb}"]
        execute(import_module(f"pipeline_steps.{modules[verb]}").run)
    else:
        sys.stderr.write(f"unknown verb {verb!r}; known: {', '.join(modules)}\n")
        sys.exit(2)


def overview() -> str:
    """The verbs, each with the first line of its module's docstring."""
    lines = [(__doc__ or "").rstrip(), ""]
    for topic, verbs in VERBS.items():
        lines += [f"{topic}:", *(f"  {verb:<24}{_summary(verbs[verb])}" for verb in verbs), ""]
    return "\n".join([*lines, "python -m pipeline_steps VERB --help says more.", ""])


def _summary(module: str) -> str:
    """First line of a docstring, read without importing the module: some take seconds to load."""
    file = Path(__file__).parent.joinpath(*module.split(".")).with_suffix(".py")
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    return (doc or "").partition("\n")[0]


if __name__ == "__main__":
    main()
