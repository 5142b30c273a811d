"""TensorBoard: one event file per run, and the columns of the HParams page."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from analysis.trackers.runs import Scalar, TrackedRun
from designspace.packages import optional

FIRST = ("space", "macs", "params", "depth", "status")
"""Columns that the HParams page shows at first. It shows five until others are selected."""

METRICS = ("final/error_percent", "train/error_percent", "train/loss", "final/train_seconds")
"""Metrics of the HParams page, at the end of the training."""


class TensorBoard:
    """Writes LOGDIR/STUDY/NAME/events.out.tfevents.ENDED.RUN_ID.

    The file events.out.tfevents.columns in the log directory lists the columns of the HParams page. Without it,
    TensorBoard would show the first five in alphabetical order.

    Args:
        out: the log directory; default "tensorboard".
    """

    def __init__(self, out: str | None) -> None:
        optional("tensorboard", "tensorboard")
        self._logdir = Path(out or "tensorboard")
        self._columns = _Columns(self._logdir / "events.out.tfevents.columns")

    @property
    def view(self) -> str:
        """The command that opens the dashboard."""
        return f"tensorboard --logdir {shlex.quote(str(self._logdir))}"

    def written(self, study: str) -> dict[str, int]:
        """End time of each complete run of a study by run id."""
        files = (self._logdir / study).glob("*/events.out.tfevents.*.*")
        parts = [file.name.split(".")[-2:] for file in files]
        return {run_id: int(ended) for ended, run_id in parts if ended.isdecimal()}

    def write(self, run: TrackedRun) -> None:
        """Write a run; replace an earlier training of the model."""
        columns: dict[str, Scalar] = {"status": run.status, "study": run.study, **run.complexity, **run.settings}
        self._columns.extend(columns)
        folder = self._logdir / run.study / quote(run.name, safe=" ")
        for earlier in folder.glob(f"events.out.tfevents.*.{run.run_id}"):
            earlier.unlink()
        _write(folder / f"events.out.tfevents.{run.ended}.{run.run_id}", _summaries(run, columns))


TimedSummary = tuple[int, float, Any]
"""Step, Unix time, and summary."""


def _write(path: Path, summaries: Iterable[TimedSummary]) -> None:
    """Write an event file atomically."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = BytesIO()
    writer = RecordWriter(content)
    writer.write(Event(file_version="brain.Event:2").SerializeToString())
    for step, time, summary in summaries:
        writer.write(Event(step=step, wall_time=time, summary=summary).SerializeToString())
    # The temporary file of `replace_file` would have "tfevents" in its name, and TensorBoard reads all such files.
    partial = path.with_name(f"{path.name.rpartition('.')[2]}-{os.getpid()}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(content.getvalue())
    os.replace(partial, path)


def _summaries(run: TrackedRun, columns: Mapping[str, Scalar]) -> list[TimedSummary]:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    def scalars(values: Mapping[str, float]) -> Summary:
        return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])

    trial = f"{run.name} {run.study}"  # distinct, since TensorBoard averages runs with the same id
    status = api_pb2.STATUS_FAILURE if run.failed else api_pb2.STATUS_SUCCESS
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=run.ended)
    return [
        (0, run.times[0], hparams_pb(columns, trial_id=trial, start_time_secs=run.times[0])),
        *((epoch, time, scalars(values)) for epoch, time, values in run.epochs()),
        (run.last_epoch, run.times[-1], scalars({f"final/{name}": value for name, value in run.results.items()})),
        (run.last_epoch, run.times[-1], _hparams_summary(metadata.SESSION_END_INFO_TAG, session_end_info=end)),
    ]


class _Columns:
    """The file that lists the columns and metrics of the HParams page.

    Args:
        path: the file. It may exist, with the columns of other runs, and other processes may extend it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: dict[str, Any] = {}

    def extend(self, values: Mapping[str, Scalar]) -> None:
        """Add the columns of a run, and the values of its text columns, which the page offers as filters."""
        if not self._include(values):
            self._read()
        if self._include(values):
            return
        from tensorboard.plugins.hparams import api_pb2, metadata

        for name, value in values.items():
            # TensorBoard sorts columns by "differs", then by name.
            new = api_pb2.HParamInfo(name=name, type=_data_type(value), differs=name in FIRST)
            column = self._columns.setdefault(name, new)
            if isinstance(value, str) and value not in list(column.domain_discrete):
                column.domain_discrete.append(value)
        metrics = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in METRICS]
        experiment = api_pb2.Experiment(hparam_infos=self._columns.values(), metric_infos=metrics)
        _write(self._path, [(0, 0.0, _hparams_summary(metadata.EXPERIMENT_TAG, experiment=experiment))])

    def _include(self, values: Mapping[str, Scalar]) -> bool:
        return all(
            name in self._columns and (not isinstance(value, str) or value in list(self._columns[name].domain_discrete))
            for name, value in values.items()
        )

    def _read(self) -> None:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.plugins.hparams import metadata

        events = EventFileLoader(str(self._path)).Load() if self._path.exists() else ()
        for value in (value for event in events for value in event.summary.value):
            experiment = metadata.parse_experiment_plugin_data(value.metadata.plugin_data.content)
            self._columns |= {column.name: column for column in experiment.hparam_infos}


def _data_type(value: Scalar) -> Any:
    from tensorboard.plugins.hparams import api_pb2

    if isinstance(value, bool):
        return api_pb2.DATA_TYPE_BOOL
    return api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64


def _hparams_summary(tag: str, **fields: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    plugin = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**fields))
    return Summary(value=[Summary.Value(tag=tag, metadata=plugin, tensor=metadata.NULL_TENSOR)])
