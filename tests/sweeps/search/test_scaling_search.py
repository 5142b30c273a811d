"""Search of the coefficients of compound scaling, which ends in a family of networks."""

import pytest
from fake_study import freeze

from designspace import complexity, load_spec, zoo
from designspace.cli import main
from designspace.scaling import Scaling
from designspace.study import Record, Study
from sweeps.compose import compose
from sweeps.search.proposals import Proposer
from sweeps.worker.process import record_of

PHI = "{phi: {distribution: choice, options: [1]}}"
EXPONENT = (
    "{growth: {distribution: choice, options: [2]}, "
    "width_exponent: {distribution: uniform, low: 0, high: 1, step: 0.02}}"
)
SPACES = {
    "alpha": f"{{base: compound, spec: EfficientNet-B0, parameters: {PHI}}}",
    "width_exponent": f"{{base: compound_fast, spec: EfficientNet-B0, parameters: {EXPONENT}}}",
}
BEST = {"alpha": 1.3, "width_exponent": 0.6}


def finish(study: Study, name: str) -> Study:
    """Propose and record until the budget is used up; the error is smallest at a value of one coefficient."""
    proposer = Proposer(study)
    while True:
        for model in study.models_to_train():
            error = 20 + 10 * abs(model.parameters[name] - BEST[name])
            study.write_record(model, record_of(study, model, Record("", "", "", 0, "ok", error_percent=error)))
        if not any(study.to_propose.values()):
            return study
        study = proposer.propose(study)


@pytest.mark.parametrize("name", SPACES)
def test_a_search_of_coefficients_ends_in_a_family(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    overrides = [f"spaces={{s: {SPACES[name]}}}", "n=5", "budget=15", "duplicates=drop", "search=tpe", "run=study"]
    study = freeze(compose(["data=digits", "device=cpu", *overrides]).values, tmp_path / "study")
    study = finish(study, name)
    assert sum(model.proposed_by != "" for model in study.models) == 10
    scaling = Scaling.from_study("study")
    best = min(study.models, key=lambda model: abs(model.parameters[name] - BEST[name]))
    assert getattr(scaling, name) == best.parameters[name]
    assert main(["scale", "EfficientNet-B0", "--from", "study", "--phi", "0,1,2", "--out", "family"]) == 0
    assert scaling.text in capsys.readouterr().out
    macs = [complexity(load_spec(tmp_path / "family" / f"phi-{phi}.yaml")).macs for phi in (0, 1, 2)]
    assert macs[0] == complexity(zoo.spec("EfficientNet-B0")).macs
    assert 1.5 * macs[0] < macs[1] < macs[2]
