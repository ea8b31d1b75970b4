"""Steps outside the DVC graph: they read or change external state.

An operation is a command of this package. It runs in a workspace like a stage and reads outputs of
stages and files of earlier operations of the run; its own files are stored with the run.
"""

from dataclasses import dataclass

from diffrec_core.common.errors import AlarmError, ArtifactError, DataError
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
        reads_stored: files of an earlier operation of the run.
        stores: files and folders whose new contents are stored with the run, even on failure.
        publishes: paths among those and their published names: all or none, in this order.
        publishes_after: exit codes after which they are published.
        changes_world: promotes or publishes: skipped in a dry run.
    """

    command: tuple[str, ...]
    reads: tuple[str, ...] = ()
    reads_stored: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    publishes: tuple[tuple[str, str], ...] = ()
    publishes_after: tuple[int, ...] = (0,)
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
            stores=(GATE, REPORT),
            publishes=((GATE, "gate.json"), (REPORT, "report.html")),
        ),
        OperationName.PROMOTE: Operation(
            command=("promote", "--gate", GATE), reads_stored=(GATE,), changes_world=True
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
            stores=(STATUS,),
            publishes=(
                (f"{STATUS}/status.json", "status/status.json"),
                (f"{STATUS}/status.html", "status/status.html"),
            ),
            # the status says that the data cannot be used, or that a check is in alarm
            publishes_after=(0, DataError.exit_code, ArtifactError.exit_code, AlarmError.exit_code),
        ),
    }  # fmt: skip
