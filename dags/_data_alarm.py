"""The task that says on the status page why a night's data could not be read."""

from _stage_graph import StageGraph, needed_for
from _tasks import RUN, PipelineOperator


def data_alarm(graph: StageGraph) -> PipelineOperator:
    """The task for after `build_interactions`: skipped, unless that or a task before it failed.

    It ends well: the task that failed has raised the alarm, and the run fails for it.

    Args:
        graph: the stages of the DAG.
    """
    stages = [stage.name for stage in needed_for(graph, "build_interactions").stages]
    return PipelineOperator(
        task_id="data_alarm",
        arguments=[
            "report-unreadable-data", "--run", RUN,
            "{{ '--dry-run' if params.get('dry_run') else '' }}",
            "--stages", *stages,
        ],
        stage="data_alarm",
        trigger_rule="one_failed",
        do_xcom_push=False,
        doc_md="Where the data could not be read: says so on the status page, and why. The page "
        "would keep the verdict of the day before.",
    )  # fmt: skip
