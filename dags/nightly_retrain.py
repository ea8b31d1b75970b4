"""# Raw logs to a champion that is no worse than yesterday's, and its recommendations, every night.

**What it does.** Each task is one stage of `dvc.yaml`, in DVC's order. `start_run` fixes the
commit, the data window (all data before the end of the data interval, or `nightly.window_days` of
it) and the parameters; `list_raw` looks at the raw files once; the rest follows from these. Then:

- `gate` compares the candidate with the champion, on data that neither was trained on;
- `promote` makes it champion, and is skipped where the gate keeps the old one;
- `recommend` writes the champion's table for every user, from tonight's histories;
- `publish` compares that table with the current one, and makes it the current one unless it is
  too far from it.

Where the data cannot be read, `report_unreadable_data` puts the reason on the status page.

**When it is urgent.** It is not: a failed night leaves yesterday's champion and yesterday's
recommendations in place. Look at it in the morning. Two failed nights in a row are: `monitor`
shows how old they are.

**When a task fails.** A note with the reason, the last lines of the log and what to do is in
`.nightly/alerts` and at the webhook. Fix the cause, then clear the task and those after it.

| The log says | Do |
|---|---|
| `params.yaml: …` | correct the key that it names, clear `start_run` and all after it |
| too many rows rejected | look into the quarantine, correct the log, clear `list_raw` and after |
| a file has changed since list_raw | clear `list_raw` and all after it |
| these files differ from the commit | commit or stash them, clear `start_run` and all after it |
| no space is left | free space, clear the task; nothing was left half-written |
| the job was killed | out of memory? clear the task: a training resumes from its checkpoint |
| the champion has moved | somebody promoted or rolled back meanwhile: clear `gate` and after |
| is not the champion's | the same, after the table was made: clear `recommend` and after |
| is not published: it is too far | look at the bounds that it names: docs/runbook.md |
| MLflow cannot be reached | it was retried: is MLflow up? clear the task |
| `.venv/bin/python is missing` | `make run` once in the project's folder builds the environment |

Cleared tasks compute only what is not there. `docs/runbook.md` says more, and how to roll back.

**Where it runs.** Each task is a process of the pipeline's own environment, in a workspace of its
own; they share nothing but the remote (`DIFFREC_REMOTE`). Stages with `resources: gpu` use the
pool `gpu`. Trigger it by hand with other models, seeds, parameters or a window; with `dry_run` it
trains, registers the candidate as `challenger`, compares and reports, and promotes and publishes
nothing.
"""

# Airflow parses only files that contain both words, airflow and dag.
from _dag import RUN_PARAMS, pipeline_dag
from _project import shared
from _tasks import CHAMPION, DATA, publish, report_unreadable_data, run_stage, stage_tasks

with pipeline_dag("nightly_retrain", "0 0 * * *", __doc__, tag="training", params=RUN_PARAMS):
    tasks = stage_tasks()
    gate = run_stage(
        shared.OperationName.GATE,
        doc_md="Compares the candidate with the champion, on data that neither was trained on. To "
        "keep the champion is a decision, no failure: the reason is in the log and in the report.",
    )
    promote = run_stage(
        shared.OperationName.PROMOTE,
        outlets=[CHAMPION],
        doc_md="Makes the candidate champion, as the gate decided; skipped where it decided to "
        "keep the old one.",
    )
    # the champion serves whether it is tonight's or an older one
    recommend = tasks[shared.OperationName.RECOMMEND]
    recommend.trigger_rule = "none_failed"
    tasks["register"] >> gate >> promote >> recommend >> publish()
    tasks[DATA] >> report_unreadable_data()
