"""Settings of the built-in sinks. No torch: a spec is checked with them."""

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TensorBoardOptions(_Options):
    """`tensorboard`: another folder than the run's own `tensorboard/`."""

    folder: str | None = None


class WandbOptions(_Options):
    """`wandb`: project and entity."""

    project: str = "revive"
    entity: str | None = None


class TrackioOptions(_Options):
    """`trackio`: project."""

    project: str = "revive"


SINK_OPTIONS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {"tensorboard": TensorBoardOptions, "wandb": WandbOptions, "trackio": TrackioOptions}
)
