"""A live report on a free port, updated only on request."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from analysis import load
from analysis.live import HOST, LiveStudies, application


def make_live(runs: Sequence[Path]) -> LiveStudies:
    """The fragments about these runs, with the default statistics."""
    return LiveStudies(runs, lambda existing: load(*existing))


def update(live: LiveStudies) -> None:
    """Read the study folders and compute the statistics."""
    live.update_progress()
    live.update_statistics()


@contextmanager
def serving(live: LiveStudies, port: int = 0) -> Iterator[int]:
    """Serve the page while the block runs; the context is the port."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen()
        settings = uvicorn.Config(application(live), log_level="warning", lifespan="off", ws="none")
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()
