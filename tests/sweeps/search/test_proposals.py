"""Proposals: members of the space, distinct, and neither lost nor duplicated by a kill at any moment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from command import PATHS
from fake_study import freeze, work
from optuna import load_study
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from analysis.trackers.tracking import Tracking
from designspace.cli import main
from designspace.progress import StudyReader
from designspace.spaces import DesignSpace, Rejection, sampling, space, space_from_config
from designspace.study import Record, Study
from sweeps.compose import compose
from sweeps.search.proposals import Proposer, flat_domains, flat_parameters, nested_parameters
from sweeps.study.progress import status_lines
from sweeps.worker.process import record_of

EASY = (
    "data=digits",
    "spaces={a: regnetx, b: inverted}",
    "template={stem: {width: 8, stride: 1}, strides: [1, 1, 2, 2]}",
    "n=4",
    "budget=8",
    "device=cpu",
    "run=study",
)


def config(*overrides: str, search: str = "tpe") -> dict:
    return compose([*EASY, f"search={search}", *overrides]).values


def fill(study: Study, error: float = 50.0) -> None:
    """Record every model; the error falls with the depth."""
    for model in study.models_to_train():
        record = Record("", "", "", 0, "ok", error_percent=error - model.depth / 10)
        study.write_record(model, record_of(study, model, record))


def finish(study: Study) -> Study:
    """Make and record proposals until the budget is used up."""
    proposer = Proposer(study)
    while any(study.to_propose.values()):
        fill(study)
        study = proposer.propose(study)
    fill(study)
    return study


def check_complete(study: Study) -> None:
    """Every index of every space is there once, and no proposal repeats a network."""
    config = study.config
    places = Counter(model.place for model in study.models)
    assert set(places) == {
        (label, index, seed)
        for label in config["spaces"]
        for index in range(config["budget"])
        for seed in config["training_seeds"]
    }
    assert set(places.values()) == {1}
    for label in config["spaces"]:
        proposed = [model.key for model in study.models if model.space == label and model.proposed_by]
        drawn = [model.key for model in study.drawn if model.space == label]
        assert len(set(proposed)) == len(proposed)
        assert not set(proposed) & set(drawn)
    assert not study.models_to_train()


@pytest.mark.parametrize("search", ["tpe", "nsga2", "cmaes", "random"])
def test_proposals_are_members_of_their_space(tmp_path, search):
    study = finish(freeze(config(search=search), tmp_path / "study"))
    check_complete(study)
    for model in study.models[len(study.drawn) :]:
        frozen = space_from_config(study.manifest["spaces"][model.space])
        network = frozen.network(model.parameters, model.index)
        assert not isinstance(network, Rejection)
        row = next(network.rows())
        assert (row["spec_id"], row["macs"], row["spec"]) == (model.spec_id, model.macs, model.spec)
        assert model.proposed_by in (search, "random")
    assert {proposal.proposed_by for proposal in study.proposals.values()} & {search}
    assert {record.proposed_by for record in study.read_records()[0].values()} >= {"", search}


def test_random_proposals_are_the_next_distinct_draws(tmp_path):
    study = finish(freeze(config("duplicates=drop", search="random"), tmp_path / "study"))
    longer = freeze(compose([*EASY[:3], "n=8", "duplicates=drop", "run=study"]).values, tmp_path / "longer")
    assert [model.spec_id for model in study.models] == [model.spec_id for model in longer.models]


def test_parameters_survive_the_flat_form():
    for name in ("regnetx", "anynetx_d", "inverted", "compound_free"):
        chosen: DesignSpace = space(name)
        for row in chosen.sample(3).rows():
            flat = flat_parameters(row["parameters"])
            assert flat.keys() == flat_domains(chosen).keys()
            assert nested_parameters(chosen, flat) == row["parameters"]


def test_violations_grow_with_the_distance_from_the_limits():
    limited = space("regnetx").with_constraints(macs=(3e8, 4e8))
    parameters = next(limited.sample(1).rows())["parameters"]
    wide = [limited.network(parameters | {"group_width": width}) for width in (64, 256)]
    assert [one.reason for one in wide if isinstance(one, Rejection)] == ["macs", "macs"]
    assert 0 < wide[0].violation < wide[1].violation  # type: ignore[union-attr]


def test_two_seeds_are_proposed_together_and_their_mean_error_is_reported(tmp_path):
    study = freeze(config("training_seeds=[0,3]", "spaces=[regnetx]", "budget=6"), tmp_path / "study")
    proposer = Proposer(study)
    for model in study.models_to_train():
        record = Record("", "", "", 0, "ok", error_percent=40.0 if model.seed else 20.0)
        study.write_record(model, record_of(study, model, record))
    study = proposer.propose(study)
    (proposal,) = study.proposals.values()
    assert [model.seed for model in proposal.models] == [0, 3]
    assert len({model.spec_id for model in proposal.models}) == 1
    entries = map(json.loads, study.paths.journal("regnetx").read_text().splitlines())
    assert [entry["values"] for entry in entries if entry.get("values")] == [[30.0]] * 4


def test_a_failed_training_is_reported_as_failed(tmp_path):
    study = freeze(config("spaces=[regnetx]"), tmp_path / "study")
    for model in study.models_to_train():
        record = Record("", "", "", 0, "diverged", message="the loss is nan")
        study.write_record(model, record_of(study, model, record))
    check_complete(finish(study))


KILL = """
import os, signal, sys
from pathlib import Path
from designspace.study import Study
from sweeps.search.proposals import Proposer
from sweeps.search.strategies import OptunaStrategy

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "before":
    Study.write_proposal = kill
else:
    OptunaStrategy.save = kill
study = Study.open(sys.argv[1])
Proposer(study).propose(study)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("search", ["tpe", "cmaes"])
def test_a_kill_before_or_after_writing_a_proposal_loses_and_duplicates_nothing(tmp_path, moment, search):
    study = freeze(config("spaces=[regnetx]", "budget=8", search=search), tmp_path / "study")
    fill(study)
    study = Proposer(study).propose(study)
    fill(study)
    command = [sys.executable, "-c", KILL, str(study.paths.root), moment]
    killed = subprocess.run(command, env=os.environ | {"PYTHONPATH": PATHS}, check=False)
    assert killed.returncode == -9
    study = Study.open(study.paths.root)
    assert len(study.proposals) == (1 if moment == "before" else 2)
    before = dict(study.proposals)
    study = finish(study)
    assert before.items() <= study.proposals.items()
    check_complete(study)


def test_a_lost_or_damaged_journal_is_built_again(tmp_path, caplog):
    study = freeze(config("spaces=[regnetx]", "budget=9"), tmp_path / "study")
    proposer = Proposer(study)
    for _ in range(3):
        fill(study)
        study = proposer.propose(study)
    journal = study.paths.journal("regnetx")
    shutil.rmtree(journal.parent)
    study = proposer.propose(study)
    assert sum('"index"' in line for line in journal.read_text().splitlines()) >= 8
    journal.write_text("not a journal\n")
    study = finish(study)
    check_complete(study)
    assert "damaged" in caplog.text
    assert (study.paths.set_aside / "regnetx.journal.0").read_text() == "not a journal\n"


def test_workers_propose_train_and_resume(tmp_path):
    study = freeze(config(), tmp_path / "study")
    reader = StudyReader(study)
    assert reader.read().total.missing == 16
    assert not reader.read().complete
    work(study, "fake_study.open_good", processes=2)
    study = Study.open(tmp_path / "study")
    check_complete(study)
    for label in ("a", "b"):
        journal = JournalStorage(JournalFileBackend(str(study.paths.journal(label))))
        assert {trial.state for trial in load_study(study_name=label, storage=journal).trials} == {TrialState.COMPLETE}
    status = reader.read()
    assert status.complete
    assert (status.total.trainings, status.total.done) == (len({model.key for model in study.models}), 16)
    assert any("a: 4 models proposed by tpe" in line for line in status_lines(study.paths.root, status))
    files = {path: path.read_bytes() for path in study.paths.proposals.iterdir()}
    work(study, "fake_study.open_good")
    assert files == {path: path.read_bytes() for path in study.paths.proposals.iterdir()}


WORKER = """
import sys
from designspace.study import Study
from sweeps.study.claims import Claims
from sweeps.worker.worker import Worker
study = Study.open(sys.argv[1])
claims = Claims(study.paths.claims, sys.argv[2], stale_seconds=3)
Worker(study, claims, trainer="fake_study.open_slow", heartbeat_seconds=0.5).run()
"""


def test_two_workers_and_one_killed_in_the_middle_share_the_proposals(tmp_path):
    study = freeze(config("spaces=[regnetx]", "budget=12"), tmp_path / "study")
    command = [sys.executable, "-c", WORKER, str(study.paths.root)]
    workers = [subprocess.Popen([*command, name], env=os.environ | {"PYTHONPATH": PATHS}) for name in ("one", "two")]
    while not list(study.paths.root.glob("proposals/*.json")):
        assert workers[0].poll() is None
    workers[0].kill()
    assert [worker.wait(120) for worker in workers] == [-9, 0]
    check_complete(Study.open(study.paths.root))


def test_the_budget_grows_but_n_does_not(tmp_path):
    root = tmp_path / "study"
    finish(freeze(config("n=5", "budget=7"), root))
    with pytest.raises(ValueError, match=r"n = 6: must be 5, because .* has proposals; increase budget instead"):
        freeze(config("n=6", "budget=9"), root)
    with pytest.raises(ValueError, match=r"budget = 6: must be at least 7, which .* was frozen with"):
        freeze(config("n=5", "budget=6"), root)
    with pytest.raises(ValueError, match=r"was frozen with another config.*search: tpe -> nsga2"):
        freeze(config("n=5", "budget=7", search="nsga2"), root)
    with pytest.raises(ValueError, match=r"was frozen with another config.*objectives"):
        freeze(config("n=5", "budget=7", "objectives=[error,macs]"), root)
    first = Study.open(root).proposals
    grown = finish(freeze(config("n=5", "budget=9"), root))
    assert first.items() <= grown.proposals.items()
    check_complete(grown)


def test_a_study_becomes_a_search(tmp_path):
    root = tmp_path / "study"
    without = freeze(compose([*EASY[:4], "device=cpu", "run=study"]).values, root)
    fill(without)
    lines = without.paths.models.read_bytes()
    study = finish(freeze(config(), root))
    check_complete(study)
    assert study.paths.models.read_bytes() == lines


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["budget=20"], "budget = 20: must be null without a search; add search=tpe"),
        (["objectives=[error,macs]"], "objectives = ['error', 'macs']: must be [error] without a search"),
        (["search=tpe"], "budget: required with search = tpe"),
        (["search=tpe", "budget=16"], "budget = 16: must be greater than n = 16"),
        (["search=tpee", "budget=20"], "search = 'tpee': must be one of tpe"),
        (["search=tpe", "budget=20", "objectives=[error,flops]"], "objectives"),
        (["search=tpe", "budget=20", "objectives=[macs]"], "objectives = ['macs']: must be error, and then"),
        (["search=tpe", "budget=20", "objectives=[error,macs,macs]"], "must be error, and then different ones"),
        (["search=cmaes", "budget=20", "objectives=[error,macs]"], "must be [error] with search = cmaes; use tpe"),
        (
            ["search=cmaes", "budget=20", "spaces={one: {base: compound_dwr}}"],
            "search = cmaes: must be tpe or nsga2, because spaces.one has fewer than two numeric parameters",
        ),
    ],
)
def test_wrong_settings_are_one_line_before_anything_is_written(tmp_path, capsys, overrides, message):
    run = tmp_path / "study"
    assert main(["sweep", "experiment=smoke", "n=16", f"run={run}", *overrides]) != 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("designspace sweep: ")]
    assert message in line
    assert not run.exists()


def test_a_budget_above_the_number_of_networks_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "PATIENCE", 1)
    fixed = {"w_0": 24, "w_a": 21.3, "w_m": 2.466, "bottleneck_ratio": 1, "group_width": 16}
    choices = {name: {"distribution": "choice", "options": [value]} for name, value in fixed.items()}
    choices["depth"] = {"distribution": "choice", "options": [22, 23]}
    with pytest.raises(ValueError, match=r"^budget = 8: must be at most the 2 networks .*reduce budget"):
        freeze(config("n=2") | {"spaces": {"two": {"base": "regnetx", "parameters": choices}}}, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_tracker_follows_a_search(tmp_path):
    pytest.importorskip("tensorboard")
    study = freeze(config("spaces=[regnetx]"), tmp_path / "study")
    fill(study)
    tracking = Tracking([study.paths.root], "tensorboard", str(tmp_path / "runs"))
    tracking.update()
    assert (tracking.done, tracking.total) == (4, 8)
    finish(study)
    tracking.update()
    assert tracking.done == tracking.total == 8


def test_labels_that_are_no_file_names_have_files_of_their_own(tmp_path):
    label = "stages/4: wide"
    values = config("spaces=[regnetx]")
    values["spaces"] = {label: {"base": "regnetx"}, "stages/4, wide": {"base": "regnety"}}
    study = finish(freeze(values, tmp_path / "study"))
    check_complete(study)
    assert len(list(Path(study.paths.root / "search").glob("*.journal"))) == 2
