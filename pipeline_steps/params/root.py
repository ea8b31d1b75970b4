"""params.yaml as one type: its fields are the sections."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from diffrec_core.common.config import Config, check_sections
from diffrec_core.common.errors import ConfigError
from diffrec_core.contest.config import ContestConfig, GateConfig, PublishConfig
from diffrec_core.data.build_interactions import InteractionsConfig
from diffrec_core.data.splits import SplitConfig
from diffrec_core.evaluation.evaluator import EvaluationConfig
from diffrec_core.evaluation.leaderboard import SelectConfig
from diffrec_core.ingestion.layout import IngestConfig
from diffrec_core.ingestion.raw_files import ListRawConfig
from diffrec_core.models.base import ModelConfig
from diffrec_core.models.diffrec.item_clusters import ClusteringConfig
from diffrec_core.models.kinds import implementation, parse_config
from diffrec_core.models.lightgcn.network import LightGCNConfig
from diffrec_core.monitoring.config import MonitorConfig
from pipeline_steps.params.steps import (
    AppliedPreset,
    NightlyConfig,
    RecommendConfig,
    RefitConfig,
    RegisterConfig,
    RobustnessConfig,
    TuneConfig,
)
from pipeline_steps.runtime.command import repository_root
from pipeline_steps.runtime.config import Models, RuntimeConfig, Seeds
from pipeline_steps.runtime.sections import Seed, read_params


class Params(Config):
    """All of params.yaml; each field is a section, named as a stage or as what it is about."""

    seed: Seed
    """Parent of all randomness."""

    seeds: Seeds
    """Number of seeds that each model is trained with."""

    models: Models
    """The models of a run."""

    list_raw: ListRawConfig
    ingest: IngestConfig
    build_interactions: InteractionsConfig
    split: SplitConfig
    pretrain_item_embeddings: LightGCNConfig
    cluster_items: ClusteringConfig
    train: dict[str, ModelConfig]
    """Settings of the models."""

    evaluate: EvaluationConfig
    select: SelectConfig
    refit: RefitConfig
    registration: RegisterConfig = Field(alias="register")  # `register` is a method of the class
    recommend: RecommendConfig
    gate: GateConfig
    contest: ContestConfig = ContestConfig()
    publish: PublishConfig = PublishConfig()
    monitor: MonitorConfig
    nightly: NightlyConfig
    runtime: RuntimeConfig

    tune: TuneConfig
    """A study beside the pipeline: `make tune`."""

    robustness: RobustnessConfig
    """A study beside the pipeline: `make robustness`."""

    preset: AppliedPreset | None = None
    """The changes of `use-preset`."""

    @field_validator("train", mode="before")
    @classmethod
    def _parse_models(cls, sections: Any) -> Any:
        """Each entry is the configuration of its kind."""
        if not isinstance(sections, Mapping):
            return sections
        return {name: _model_config(section, name) for name, section in sections.items()}

    @model_validator(mode="after")
    def _check_models(self) -> Self:
        for name, entry in self.models.items():
            if name not in self.train:
                raise ValueError(f"train.{name} is missing: the settings of models.{name}")
            source = Path(inspect.getfile(implementation(self.train[name].kind)))
            if not source.is_relative_to((repository_root() / entry.code).resolve()):
                raise ValueError(
                    f"models.{name}.code = {entry.code!r}: the kind {self.train[name].kind!r} is "
                    f"in {source}; name that file or a folder that holds it"
                )
        return self

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and check the whole file.

        Raises:
            ConfigError: a section is missing, a key unknown or a value not allowed.
        """
        return cls.parse_all(read_params(path))

    @classmethod
    def sections(cls) -> frozenset[str]:
        """Names of the sections."""
        return frozenset(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    def parse_all(cls, values: Mapping[str, Any]) -> Self:
        """Check the sections as they were read; see `load`."""
        check_sections(values, cls.sections())
        # an empty section is written as nothing, which YAML reads as null
        return cls.parse({name: {} if part is None else part for name, part in values.items()}, "")


def _model_config(section: Any, name: str) -> ModelConfig:
    if not isinstance(section, Mapping):
        raise ConfigError(f"params.yaml: train.{name} must be a mapping, found {section!r}")
    return parse_config(section, f"train.{name}")
