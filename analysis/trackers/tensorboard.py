"""TensorBoard: one event file per run, written atomically."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from analysis.trackers.runs import TrackedRun
from designspace.atomic import replace_file
from designspace.packages import optional


class TensorBoard:
    """Writes LOGDIR/STUDY/NAME/events.out.tfevents.ENDED.RUN_ID.

    Args:
        out: the log directory; default "tensorboard".
    """

    def __init__(self, out: str | None) -> None:
        optional("tensorboard", "tensorboard")
        self._logdir = Path(out or "tensorboard")

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
        folder = self._logdir / run.study / quote(run.name, safe=" ")
        staged = folder / f"{run.run_id}.partial"  # TensorBoard reads every file with "tfevents" in its name
        replace_file(staged, _event_file(run), durable=False)
        for earlier in folder.glob(f"events.out.tfevents.*.{run.run_id}"):
            earlier.unlink()
        os.rename(staged, folder / f"events.out.tfevents.{run.ended}.{run.run_id}")


def _event_file(run: TrackedRun) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = BytesIO()
    writer = RecordWriter(content)
    writer.write(Event(wall_time=run.times[0], file_version="brain.Event:2").SerializeToString())
    for step, time, summary in _summaries(run):
        writer.write(Event(wall_time=time, step=step, summary=summary).SerializeToString())
    return content.getvalue()


def _summaries(run: TrackedRun) -> Iterator[tuple[int, float, object]]:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    def scalars(values: Mapping[str, float]) -> Summary:
        return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])

    columns = {"status": run.status} | dict(run.settings) | dict(run.complexity)
    yield 0, run.times[0], hparams_pb(columns, trial_id=f"{run.study}/{run.name}", start_time_secs=run.times[0])
    for epoch, time, values in run.epochs():
        yield epoch, time, scalars(values)
    yield run.last_epoch, run.times[-1], scalars(run.results)
    end = plugin_data_pb2.SessionEndInfo(
        status=api_pb2.STATUS_FAILURE if run.failed else api_pb2.STATUS_SUCCESS, end_time_secs=run.ended
    )
    content = plugin_data_pb2.HParamsPluginData(session_end_info=end, version=metadata.PLUGIN_DATA_VERSION)
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=content.SerializeToString())
    ended = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=SummaryMetadata(plugin_data=plugin))
    yield run.last_epoch, float(run.ended), Summary(value=[ended])
