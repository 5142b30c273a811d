"""Schema of conf/config.yaml, which has the defaults and the meaning of every key."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from designspace.study import STATUSES

LEAST_BEATS = 3
"""Heartbeats that a claim must miss to be stale: one may be late, and is seen late on a shared file system."""

OneOrMore = Annotated[int, Field(ge=1, description="1 or more")]
NoneOrMore = Annotated[int, Field(ge=0, description="0 or more")]
Seconds = Annotated[float, Field(ge=0, description="0 or more seconds")]
Failure = Annotated[str, Field(pattern=f"^({'|'.join(STATUSES[1:])})$")]


class StudyConfig(BaseModel):
    """The keys of conf/config.yaml; data, recipe, device and spaces are validated where they are read."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    n: int = Field(ge=1, description="1 or more models per space")
    seed: NoneOrMore
    duplicates: Literal["keep", "drop"] = Field(description="keep, or drop")
    training_seeds: list[NoneOrMore] = Field(min_length=1, description="different whole numbers from 0, like [0,1]")
    spaces: dict[str, dict[str, Any]]
    template: dict[str, Any]
    complexity: dict[str, Any]
    data: dict[str, Any]
    recipe: dict[str, Any]
    device: dict[str, Any]
    deadline_seconds: Seconds | None = Field(description="0 or more seconds, or null")
    trainer: str

    run: str = Field(min_length=1, description="a folder")
    plan: Literal["only"] | None = Field(description="only, or null")
    processes: Literal["auto"] | OneOrMore = Field(description="auto, or 1 or more")
    processes_per_device: OneOrMore
    attempts: OneOrMore
    allowed_failures: float = Field(ge=0, le=1, description="a share from 0 to 1")
    retry: list[Failure] = Field(description=f"{', '.join(STATUSES[1:])}, like [crashed]")
    worker: NoneOrMore
    deadline_factor: Annotated[float, Field(ge=1)] | None = Field(description="1 or more, or null")
    heartbeat_seconds: float = Field(gt=0, description="more than 0 seconds")
    stale_seconds: Seconds
    checkpoint_seconds: Seconds
    stop_seconds: Seconds

    @field_validator("training_seeds")
    @classmethod
    def _different(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("every seed once")
        return seeds

    @model_validator(mode="after")
    def _beats_in_time(self) -> Self:
        if self.stale_seconds < LEAST_BEATS * self.heartbeat_seconds:
            raise ValueError(
                f"stale_seconds={self.stale_seconds:g} is not allowed with heartbeat_seconds="
                f"{self.heartbeat_seconds:g}; allowed: at least {LEAST_BEATS} times as long"
            )
        return self
