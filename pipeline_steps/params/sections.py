"""Every section of params.yaml checked at once: before a night, not where its stage comes to it."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any, Final

from diffrec_core.common.config import Config, load_section, lookup
from diffrec_core.common.errors import ConfigError
from diffrec_core.contest.config import GateConfig
from diffrec_core.data.interactions import InteractionsConfig
from diffrec_core.data.splits import SplitConfig
from diffrec_core.evaluation.evaluator import EvaluationConfig
from diffrec_core.evaluation.leaderboard import SelectConfig
from diffrec_core.ingestion.raw_files import ListRawConfig
from diffrec_core.ingestion.readers import IngestConfig
from diffrec_core.monitoring.config import MonitorConfig
from pipeline_steps.params.presets import check_params
from pipeline_steps.recommend import RecommendConfig
from pipeline_steps.refit import RefitConfig
from pipeline_steps.registry.config import RegisterConfig
from pipeline_steps.runtime.candidates import number_of_seeds
from pipeline_steps.runtime.command import Step
from pipeline_steps.runtime.fitting import RuntimeConfig
from pipeline_steps.studies.robustness import RobustnessConfig
from pipeline_steps.studies.tune import TuneConfig

CONFIGS: Final[Mapping[str, type[Config]]] = {
    "runtime": RuntimeConfig,
    "list_raw": ListRawConfig,
    "ingest": IngestConfig,
    "build_interactions": InteractionsConfig,
    "split": SplitConfig,
    "tune": TuneConfig,
    "evaluate": EvaluationConfig,
    "robustness": RobustnessConfig,
    "select": SelectConfig,
    "refit": RefitConfig,
    "register": RegisterConfig,
    "gate": GateConfig,
    "recommend": RecommendConfig,
    "monitor": MonitorConfig,
}
"""Of the sections that are of one model each; `check_all` looks at the others too."""


def check_all(params: Mapping[str, Any]) -> None:
    """Check everything that the stages of a run will read, but for `nightly`.

    Raises:
        ConfigError: a section is missing, a key unknown or a value not allowed.
    """
    check_params(params)
    for name, config in CONFIGS.items():
        load_section(params, name, config)
    step = Step(args=Namespace(), params=params)
    _ = step.seed
    models = lookup(params, "models")
    if not isinstance(models, Mapping) or not models:
        raise ConfigError(f"params.yaml: models must name at least one model, found {models!r}")
    for name in models:
        number_of_seeds(step, name)
        lookup(params, f"train.{name}")
