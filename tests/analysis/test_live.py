"""The live report: what it shows while studies appear, grow and end, and what it refuses."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from live_server import make_live, serving, update

from designspace.claims import Claim
from designspace.cli import main
from designspace.study import now


def fragments(live) -> dict[str, str]:
    update(live)
    return live.content["fragments"]


def test_progress_failures_and_best_models_are_shown(study):
    shown = fragments(make_live([study]))
    assert "<strong>46 of 48</strong>" in shown["progress-0"]
    assert "No worker is running" in shown["progress-0"]
    assert shown["failed-0"].count("<tr><td>") == 3
    assert "bottleneck beats inverted" in shown["answer"]
    assert shown["edf"].count("data:image/svg+xml;base64,") == shown["curves"].count("data:image/svg+xml;base64,") == 1
    assert shown["best"].count("<tr><td>") == 5


def test_models_in_training_show_their_epoch_and_errors(study):
    model = json.loads((study / "models.jsonl").read_text().splitlines()[-1])
    claim = Claim(model["key"], "0-host", "host", 1, "", since=now(), epoch=1, errors=(41.25,), stale_seconds=600.0)
    (study / "claims").mkdir()
    (study / "claims" / model["key"]).write_text(json.dumps(asdict(claim)))
    shown = fragments(make_live([study]))
    assert "running" in shown["progress-0"]
    assert f"{model['space']} #{model['index']}" in shown["running-0"]
    assert "1 of 2" in shown["running-0"]
    assert "<polyline" in shown["running-0"]
    assert "41.25 %" in shown["running-0"]


def test_text_from_records_is_escaped(study):
    shown = fragments(make_live([study]))
    assert "&lt;script&gt;" in shown["failed-0"]
    assert "<script>" not in "".join(shown.values())


def test_a_study_may_appear_grow_and_disappear(tmp_path, make_study):
    run = tmp_path / "study"
    live = make_live([run])
    assert f"Waiting for {run}" in fragments(live)["progress-0"]
    assert "do not stop a study because an interim result is significant" in fragments(live)["answer"]
    make_study(run, n=4)
    shown = fragments(live)
    assert "<strong>8 of 8</strong>" in shown["progress-0"]
    assert "complete" in shown["progress-0"]
    assert "interim" not in shown["answer"]
    assert shown["edf"]
    shutil.rmtree(run)
    assert not fragments(live)["edf"].strip()
    make_study(run, n=6, untrained=2)
    assert "<strong>10 of 12</strong>" in fragments(live)["progress-0"]


def test_a_damaged_study_does_not_hide_the_others(tmp_path, study):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{")
    shown = fragments(make_live([broken, study]))
    assert "not a valid manifest" in shown["progress-0"]
    assert "<strong>46 of 48</strong>" in shown["progress-1"]
    assert "bottleneck beats inverted" in shown["answer"]


def test_studies_that_cannot_be_compared_still_show_their_progress(tmp_path, study, make_study):
    other = make_study(tmp_path / "other", recipe_id="f" * 16)
    shown = fragments(make_live([study, other]))
    assert "recipe" in shown["answer"]
    assert "<strong>48 of 48</strong>" in shown["progress-1"]


@pytest.fixture
def connection(study):
    with serving(make_live([study])) as port:
        opened = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        yield opened
        opened.close()


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/", "127.0.0.1", 200),
        ("GET", "/content", "localhost:1", 200),
        ("GET", "/content", "evil.example", 400),  # DNS rebinding
        ("GET", "/", "127.0.0.1.evil.example", 400),
        ("GET", "/manifest.json", "127.0.0.1", 404),
        ("GET", "/../manifest.json", "127.0.0.1", 404),
        ("GET", "/%2e%2e/manifest.json", "127.0.0.1", 404),
        ("POST", "/content", "127.0.0.1", 405),
        ("DELETE", "/", "127.0.0.1", 405),
    ],
)
def test_only_the_page_and_its_content_are_served_to_this_machine(connection, method, path, host, status):
    connection.request(method, path, headers={"Host": host})
    response = connection.getresponse()
    assert response.status == status
    assert "Access-Control-Allow-Origin" not in response.headers
    if (status, path) == (200, "/"):
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    elif status == 200:
        assert json.loads(response.read())["title"] == "46 of 48 · study"


def test_the_command_serves_until_interrupted(study):
    command = [sys.executable, "-m", "designspace", "report", str(study), "--watch", "--port", "0"]
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            port = int(line.partition("http://127.0.0.1:")[2].split()[0])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/")
            assert connection.getresponse().status == 200
            connection.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "8000"], "port = 8000: must be used with --watch"),
        (["--watch", "--out", "pages"], "out = pages: must be left out with --watch, which writes no files"),
        (["--watch", "--port", "70000"], "port = 70000: must be a free port from 1 to 65535"),
    ],
)
def test_invalid_options_are_errors(study, capsys, options, message):
    assert main(["report", str(study), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_table_cannot_be_watched(tmp_path, capsys):
    table = Path(tmp_path / "nets.csv")
    table.write_text("error,macs\n10,1000000\n")
    assert main(["report", str(table), "--watch"]) == 2
    assert f"RUN = {table}: must be a study folder with --watch" in capsys.readouterr().err


def test_a_missing_web_server_is_an_error_with_the_command_to_install_it(study, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["report", str(study), "--watch"]) == 2
    assert "pip install 'cnn-designspace[watch]'" in capsys.readouterr().err
