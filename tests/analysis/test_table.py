import json

import numpy as np
import pandas as pd
import pytest

from analysis import load
from analysis.error_distributions import edf
from analysis.grouping import group_by
from analysis.rows import apply_failure_policy, average_seeds
from analysis.select import select_best
from analysis.training import noise_floor, seed_agreement
from designspace.spec import ModelSpec


def test_every_drawn_model_is_a_row(study):
    frame = load(study).frame
    assert len(frame) == 48
    assert frame["status"].value_counts().to_dict() == {"ok": 43, "missing": 2, "diverged": 2, "out_of_memory": 1}
    assert not frame.duplicated(["study", "space", "index", "seed"]).any()
    assert (frame["error_percent"].notna() == (frame["status"] == "ok")).all()
    assert frame[["macs", "params", "acts", "depth", "w_0", "w_a", "w_m", "group_width"]].notna().all(axis=None)


def test_columns_agree_with_the_spec(study):
    table = load(study)
    assert table.parameters[0] == "depth"
    assert {"w_0", "w_a", "w_m", "bottleneck_ratio", "group_width"} < set(table.parameters)
    for row in table.frame.itertuples():
        spec = ModelSpec.from_mapping(row.spec)
        assert (row.spec_id, row.depth, row.block_widths) == (spec.spec_id, spec.depth, spec.block_widths)


def test_models_of_an_unstarted_study_are_missing(tmp_path, make_study):
    frame = load(make_study(tmp_path / "new", n=3, untrained=6)).frame
    assert frame["status"].tolist() == ["missing"] * 6
    assert frame["error_percent"].isna().all()


def test_spaces_with_different_recipes_are_separate(tmp_path, make_study):
    a = make_study(tmp_path / "a", n=3)
    same = make_study(tmp_path / "same", n=3, seed=1)
    other = make_study(tmp_path / "other", n=3, recipe_id="f" * 16)
    assert set(load(a, same)["space"]) == {"bottleneck", "inverted"}
    assert set(load(a, other)["space"]) == {"a/bottleneck", "a/inverted", "other/bottleneck", "other/inverted"}
    assert load(a, other).sources[1].name == "other"


def test_a_training_in_two_studies_counts_once(tmp_path, make_study):
    """Populations of one space and seed share their first draws. The second study has six more of each."""
    a, b = make_study(tmp_path / "a", n=6, failures={4: "diverged"}), make_study(tmp_path / "b", n=12)
    both = load(a, b)
    assert both.frame["spec_id"].tolist() == [*load(a)["spec_id"], *load(b)["spec_id"][12:]]
    assert both.notes == (
        "12 of 36 rows repeat a training (same model, same seed) and are excluded; "
        "1 of them has several results, and the first one counts.",
    )
    assert both.frame["status"][4] == "diverged"
    assert load(b).notes == ()
    assert load(b, make_study(tmp_path / "other", n=6, recipe_id="f" * 16)).notes == ()


def test_a_model_missing_in_one_study_may_be_trained_in_another(tmp_path, make_study):
    begun, done = make_study(tmp_path / "begun", n=6, untrained=8), make_study(tmp_path / "done", n=6)
    both = load(begun, done)
    assert both["spec_id"].tolist() == [*load(begun)["spec_id"][:4], *load(done)["spec_id"][4:]]
    assert (both["status"] == "ok").all()


def test_merged_spaces_share_their_trainings(tmp_path, make_study):
    twins = {"one": (1.0, (2e6, 20e6)), "two": (1.0, (2e6, 20e6))}
    table = load(make_study(tmp_path / "twins", n=8, spaces=twins))
    assert (len(table.frame), table.notes) == (16, ())  # a network may be a member of two spaces
    together = group_by(table, "bottleneck_ratio")
    assert together.frame["space"].tolist() == ["bottleneck_ratio = 1"] * 8
    assert together.notes == ("8 of 16 rows repeat a training (same model, same seed) and are excluded.",)
    for frame in (table.frame, together.frame):
        best = select_best(frame, None, noise_sd=0.5)
        assert best["seeds"].tolist() == [1] * 8


FEW = {"few": (1.0, (4.0e6, 4.04e6))}  # a space of so few networks that many are drawn twice


def test_a_network_drawn_twice_counts_twice_and_is_trained_once(tmp_path, make_study):
    table = load(make_study(tmp_path / "study", n=60, spaces=FEW, training_seeds=(0, 1)))
    networks = table.frame["spec_id"].nunique()
    assert networks < 55
    assert (len(table.frame), table.notes) == (120, ())
    models = average_seeds(apply_failure_policy(table.frame).frame)
    assert (len(models), set(models["seeds"])) == (60, {2})
    assert len(models[["spec_id", "error_percent"]].drop_duplicates()) == networks
    assert edf(models["error_percent"])["n"][0] == 60
    noise = noise_floor(table.frame)
    assert (noise.models, noise.trainings) == (networks, 2 * networks)
    assert seed_agreement(table.frame).n == networks
    best = select_best(table.frame, None, noise_sd=0.5)
    assert (len(best), best["spec_id"].nunique(), set(best["seeds"])) == (networks, networks, {2})


def test_repeated_draws_with_one_seed_are_not_repeated_seeds(tmp_path, make_study):
    frame = load(make_study(tmp_path / "study", n=60, spaces=FEW)).frame
    assert frame["spec_id"].duplicated().any()
    assert noise_floor(frame) is None
    assert seed_agreement(frame) is None


def test_draws_with_another_sampling_seed_count(tmp_path, make_study):
    """The first 30 draws of seed 0 are shared; draws of seed 1 count, whether or not their networks are among them."""
    a, b = (make_study(tmp_path / f"{n}", n=n, spaces=FEW, training_seeds=(0,)) for n in (30, 40))
    other = make_study(tmp_path / "other", n=30, seed=1, spaces=FEW, training_seeds=(0,))
    frame = load(a, b, other).frame
    assert len(frame) == 40 + 30
    assert not frame.duplicated(["spec_id", "draw_id"]).any()
    first, second = (set(frame.loc[frame["study"].isin(studies), "spec_id"]) for studies in (("30", "40"), ("other",)))
    assert first & second
    assert noise_floor(frame) is None
    best = select_best(frame, None, noise_sd=0.5)
    assert (len(best), set(best["seeds"])) == (len(first | second), {1})


def test_seeds_of_one_model_are_averaged_over_its_draws(tmp_path, make_study):
    """Selecting the lucky seed of a network that two studies drew would be optimistic."""
    a = make_study(tmp_path / "a", n=30, spaces=FEW, training_seeds=(0,))
    b = make_study(tmp_path / "b", n=30, seed=1, spaces=FEW, training_seeds=(1,))
    frame = load(a, b).frame
    best = select_best(frame, None, noise_sd=0.5).set_index("spec_id")
    shared = best[best["seeds"] == 2]
    assert len(shared)
    means = frame.drop_duplicates(["spec_id", "seed"]).groupby("spec_id")["error_percent"].mean()
    assert shared["error_percent"].to_numpy() == pytest.approx(means[shared.index].to_numpy())


def test_a_table_survives_a_csv_file(tmp_path, make_study):
    frame = load(make_study(tmp_path / "study", n=40, spaces=FEW, training_seeds=(0, 1))).frame
    frame.drop(columns=["spec", "block_widths", "message"]).to_csv(tmp_path / "table.csv", index=False)
    again = load(tmp_path / "table.csv").frame
    assert len(average_seeds(apply_failure_policy(again).frame)) == 40


def test_unrelated_records_are_excluded_with_a_warning(study, tmp_path, make_study):
    other = make_study(tmp_path / "other", n=1, seed=5)
    for record in (other / "records").glob("*.json"):
        (study / "records" / record.name).write_text(record.read_text())
    with pytest.warns(UserWarning, match="2 records belong to no model"):
        assert len(load(study)) == 48


def test_invalid_sources_are_rejected(study, tmp_path):
    with pytest.raises(FileNotFoundError, match="not a study folder"):
        load(study / "records")
    with pytest.raises(ValueError, match="tables: must have at least one study folder or table"):
        load()
    with pytest.raises(ValueError, match="must be given only once"):
        load(study, study / ".." / study.name)
    (study / "models.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"models.jsonl: was changed after the study was frozen"):
        load(study)


def test_a_damaged_record_counts_as_missing(study):
    path = sorted((study / "records").glob("*.json"))[0]
    path.write_text(path.read_text().replace('"seed": 0', '"seed": "0"'))
    with pytest.warns(UserWarning, match=rf"1 damaged record \({path.stem}: seed = '0': must be an integer\); "):
        frame = load(study).frame
    assert frame.loc[frame["spec_id"] == path.stem.partition("-")[0], "status"].tolist() == ["missing"]


def test_models_are_selected_once_by_their_mean_over_seeds(study):
    frame = load(study).frame
    best = select_best(frame, 3)
    ok = frame[frame["status"] == "ok"]
    assert best["error_percent"].tolist() == sorted(ok["error_percent"])[:3]
    assert best["rank"].tolist() == [1, 2, 3]
    assert (best["candidates"] == ok["spec_id"].nunique()).all()
    again = ok.assign(seed=7, error_percent=ok["error_percent"] + 1)
    twice = select_best(pd.concat([ok, again]), 3)
    np.testing.assert_allclose(twice["error_percent"], best["error_percent"] + 0.5)
    assert (twice["seeds"] == 2).all()
    assert len(select_best(frame, 1000)) == ok["spec_id"].nunique()


def test_selecting_nothing_is_an_error(study):
    frame = load(study).frame
    with pytest.raises(ValueError, match="k = 0: must be at least 1"):
        select_best(frame, 0)
    with pytest.raises(ValueError, match="no model can be selected: every model has a failed training"):
        select_best(frame[frame["status"] != "ok"], 1)


def test_the_manifest_is_json(study):
    manifest = json.loads((study / "manifest.json").read_text())
    assert manifest["models"] == len((study / "models.jsonl").read_text().splitlines())
