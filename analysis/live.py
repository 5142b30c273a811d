"""A local page about studies while they run: `designspace report RUN … --watch`.

The server reads the study folders every second and renders each part of the page as an HTML fragment. The page fetches
the fragments and replaces those that changed, so scroll position and selection stay. Only this machine can open it,
there is nothing to change, and no file is served.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import secrets
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import plot_learning_curves
from analysis.plots.style import WIDTH
from analysis.training import learning_curves
from designspace.figures import figure_bytes
from designspace.packages import optional
from designspace.progress import Status, StudyReader, duration, elapsed_seconds
from designspace.study import Study, StudyPaths

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from analysis.table import Table

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
PORT = 8420
"""Default port; if it is in use, any free one."""

PROGRESS_SECONDS = 1.0
STATISTICS_SECONDS = 3.0
"""Minimum pauses between updates; a pause is also at least four times as long as the update took."""

SHOWN = 20
"""Maximum number of rows of a table."""

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}

ReadTable = Callable[[list[Path]], "Table"]


class _LiveStudy:
    """One study folder, which need not exist yet and may grow, be deleted or be replaced."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.status: Status | None = None
        self.problem = ""
        self.epochs = 0
        self.version: tuple[int, ...] = ()
        self._reader: StudyReader | None = None

    def update(self) -> None:
        try:
            version = StudyPaths(self.root).manifest_version()
            if self._reader is None or version != self.version:
                study = Study.open(self.root)
                self.epochs = (study.config.get("recipe") or {}).get("epochs") or 0
                self._reader, self.version = StudyReader(study), version
            self.status, self.problem = self._reader.read(), ""
        except (FileNotFoundError, NotADirectoryError):
            self.status, self._reader, self.problem = None, None, ""
        except (OSError, ValueError) as error:
            self.status, self._reader, self.problem = None, None, str(error)

    @property
    def state(self) -> str:
        """One word or two for the badge."""
        if self.status is None:
            return "error" if self.problem else "not started"
        return "complete" if self.status.complete else "running" if self.status.running else "no worker"


class LiveStudies:
    """The fragments of the page about some studies.

    Args:
        runs: study folders.
        read: loads the table of those that exist.
        options: match, failures and across of the statistics, where not the default.
    """

    def __init__(self, runs: Sequence[Path], read: ReadTable, **options: Any) -> None:
        self._studies = [_LiveStudy(run) for run in runs]
        self._read = read
        self._options = options
        self._computed_for: list[tuple[Path, tuple[int, ...], int, int]] = []
        self._fragments: dict[str, str] = {}
        self._templates = Environment(
            loader=PackageLoader("analysis"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._templates.globals.update(duration=duration, elapsed=elapsed_seconds, most=SHOWN)
        self.update_progress()
        self._statistics([], {}, "")

    @property
    def content(self) -> dict[str, Any]:
        """Title, runs and fragments by id, as the page fetches them."""
        statuses = [study.status for study in self._studies if study.status]
        done = sum(status.total.recorded for status in statuses)
        names = ", ".join(study.root.name for study in self._studies)
        return {
            "title": f"{done} of {sum(status.total.trainings for status in statuses)} · {names}",
            "runs": [str(study.root) for study in self._studies],
            "fragments": dict(self._fragments),
        }

    def page(self, nonce: str) -> str:
        """The complete page; `nonce` marks its style and script."""
        return self._templates.get_template("live.html.j2").render(nonce=nonce, **self.content)

    def update_progress(self) -> None:
        """Read the study folders and render progress, models in training and failures."""
        for number, study in enumerate(self._studies):
            study.update()
            self._fragments[f"progress-{number}"] = self._render("progress", study)
            self._fragments[f"running-{number}"] = self._render("running", study)
            self._fragments[f"failed-{number}"] = self._render("failed", study)
        best = [(error, model) for study in self._studies if study.status for model, error in study.status.best]
        best.sort(key=lambda row: row[0])
        self._fragments["best"] = self._render("best", best[:5])

    def update_statistics(self) -> None:
        """Compute the statistics of the finished models if there are new records."""
        totals = [(study, study.status.total) for study in self._studies if study.status]
        records = [(study.root, study.version, total.done, total.recorded) for study, total in totals]
        if records == self._computed_for:
            return
        self._computed_for = records
        if not any(total.done for _, total in totals):
            self._statistics([], {}, "")
            return
        try:
            table = self._read([study.root for study, _ in totals])
            failures = {name: value for name, value in self._options.items() if name == "failures"}
            models = table.models(**failures)
            edf = table.edf(**self._options)
            figures = {"edf": _data_uri(edf.plot, "edf")}
            curves = learning_curves(models)
            if len(curves):
                figures["curves"] = _data_uri(lambda ax: plot_learning_curves(curves, ax=ax), "curves")
            answer = _answer(table, self._options)
        except (OSError, ValueError) as error:  # such as a record that is being replaced, or recipes that differ
            self._statistics([], {}, str(error))
            return
        self._statistics(answer, figures, "")

    def _statistics(self, answer: list[str], figures: dict[str, str], problem: str) -> None:
        interim = not all(study.status and study.status.complete for study in self._studies)
        self._fragments["answer"] = self._render("answer", answer, problem, interim)
        for name in ("edf", "curves"):
            self._fragments[name] = self._render("figure", name, figures.get(name))

    def _render(self, macro: str, *arguments: object) -> str:
        return str(getattr(self._templates.get_template("live_parts.html.j2").module, macro)(*arguments))

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Update in the background while the block runs."""
        stop = threading.Event()

        def repeat(update: Callable[[], None], seconds: float) -> None:
            pause = 0.0
            while not stop.wait(pause):
                began = time.monotonic()
                try:
                    update()
                except Exception:  # the next state of the study may be readable
                    log.exception("the live report could not be updated")
                pause = max(seconds, 4 * (time.monotonic() - began))

        threads = [
            threading.Thread(target=repeat, args=(self.update_progress, PROGRESS_SECONDS), daemon=True),
            threading.Thread(target=repeat, args=(self.update_statistics, STATISTICS_SECONDS), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def _data_uri(draw: Callable[[Axes], object], name: str) -> str:
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    draw(figure.subplots())
    return f"data:image/svg+xml;base64,{base64.b64encode(figure_bytes(figure, 'svg', name)).decode()}"


def _answer(table: Table, options: dict[str, Any]) -> list[str]:
    """The comparison of the spaces, or why there is none yet."""
    try:
        return list(table.compare(**options).sentences)
    except ValueError as error:
        return [f"No comparison yet: {error}"]


def application(live: LiveStudies) -> Starlette:
    """The web application: the page, its content as JSON, nothing else.

    Requests must name this machine as their host, so that a web site cannot read the page through a domain name of its
    own that points here (DNS rebinding).
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, Response
    from starlette.routing import Route

    async def page(request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; img-src data:; connect-src 'self'; style-src 'nonce-{nonce}'; "
        policy += f"script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        return HTMLResponse(live.page(nonce), headers=HEADERS | {"Content-Security-Policy": policy})

    async def content(request: Request) -> Response:
        return Response(json.dumps(live.content), headers=HEADERS, media_type="application/json")

    return Starlette(
        routes=[Route("/", page), Route("/content", content)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
    )


def serve(live: LiveStudies, port: int | None = None) -> None:
    """Serve the page on this machine until Ctrl-C.

    Args:
        live: the studies.
        port: of the page; by default `PORT`, or any free port if it is in use.
    Raises:
        ValueError: the port is in use or not allowed.
    """
    import uvicorn

    with _listening(port) as listening, live.updating():
        url = f"http://{HOST}:{listening.getsockname()[1]}"
        print(f"live report: {url} (Ctrl-C ends it; the study continues)", flush=True)
        if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
            webbrowser.open(url)
        settings = uvicorn.Config(application(live), log_level="warning", access_log=False, lifespan="off", ws="none")
        with suppress(KeyboardInterrupt):
            uvicorn.Server(settings).run(sockets=[listening])


def check_installed() -> None:
    """Raise MissingPackage if the web server of the optional extra "watch" is not installed."""
    for package in ("starlette", "uvicorn"):
        optional(package, "watch")


def _listening(port: int | None) -> socket.socket:
    wanted = [PORT, 0] if port is None else [port]
    for number in wanted:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, number))
            listening.listen()  # a browser may connect before the server runs
        except (OSError, OverflowError):
            listening.close()
            continue
        return listening
    raise ValueError(f"port = {port}: must be a free port from 1 to 65535")
