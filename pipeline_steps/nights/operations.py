"""What a run does besides the stages of dvc.yaml: it looks at the world, or changes it.

An operation is a command of this package. It runs in a workspace like a stage, reads outputs of
stages and what earlier operations of the run made, and what it makes is kept with the run.
"""

from dataclasses import dataclass

from pipeline_steps.nights.runs import RunSpec
from pipeline_steps.shared import OperationName

EVENTS, INTERACTIONS = "data/events", "data/interactions"
INGEST_REPORT, REPORT = "reports/stages/ingest.json", "reports/report.html"
REGISTRATION, GATE, STATUS = "reports/registration.json", "reports/gate.json", "reports/status"


@dataclass(frozen=True, slots=True)
class Operation:
    """One command.

    Attributes:
        command: verb and its arguments.
        reads: outputs of stages.
        reads_kept: what an earlier operation of the run made.
        keeps: files and folders that it makes, kept with the run even where it fails.
        publishes: of those, what is shown to people, and under which name.
        changes_world: promotes or publishes: skipped in a dry run.
    """

    command: tuple[str, ...]
    reads: tuple[str, ...] = ()
    reads_kept: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    publishes: tuple[tuple[str, str], ...] = ()
    changes_world: bool = False


def operations(spec: RunSpec) -> dict[str, Operation]:
    """Every operation of a run, by name."""
    end = ("--now", spec.end) if spec.end else ()
    return {
        OperationName.GATE: Operation(
            command=(
                "gate", "--interactions", INTERACTIONS, "--registration", REGISTRATION,
                "--ingest-report", INGEST_REPORT, "--html", REPORT, "--out", GATE, *end,
            ),
            reads=(INTERACTIONS, REGISTRATION, INGEST_REPORT, REPORT),
            keeps=(GATE, REPORT),
            publishes=((REPORT, "report.html"), (GATE, "gate.json")),
        ),
        OperationName.PROMOTE: Operation(
            command=("promote", "--gate", GATE), reads_kept=(GATE,), changes_world=True
        ),
        # in place of the stage of that name, which recommends this run's winner, promoted or not
        OperationName.RECOMMEND: Operation(
            command=("recommend-champion", "--interactions", INTERACTIONS, "--run", spec.run),
            reads=(INTERACTIONS,),
            changes_world=True,
        ),
        OperationName.PUBLISH: Operation(
            command=("publish", "--run", spec.run), changes_world=True
        ),
        OperationName.MONITOR: Operation(
            command=(
                "monitor", "--events", EVENTS, "--interactions", INTERACTIONS,
                "--ingest-report", INGEST_REPORT, "--out", STATUS, *end,
            ),
            reads=(EVENTS, INTERACTIONS, INGEST_REPORT),
            keeps=(STATUS,),
            publishes=((STATUS, "status"),),
        ),
    }  # fmt: skip
