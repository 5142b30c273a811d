import numpy as np
import pandas as pd
import pytest

from analysis.matching import complexity_weights, effective_sample_size


def two_spaces(rng, n):
    """Errors fall with macs, and space b has larger models."""
    macs = np.concatenate([rng.uniform(1, 3, n), 3 - 2 * rng.beta(1, 2, n)])
    error = 20 - 4 * macs + rng.normal(0, 1, 2 * n)
    return pd.DataFrame({"space": np.repeat(["a", "b"], n), "macs": macs, "error_percent": error})


def test_matched_spaces_are_uniform_over_the_common_range():
    frame = two_spaces(np.random.default_rng(0), n=200)
    match = complexity_weights(frame)
    low = frame.groupby("space")["macs"].min().max()
    high = frame.groupby("space")["macs"].max().min()
    np.testing.assert_allclose(match.edges[[0, -1]], (low, high))
    np.testing.assert_allclose(np.diff(np.log(match.edges)), np.log(high / low) / match.bins)
    assert match.bins >= 6
    for name in "ab":
        mine = (frame["space"] == name).to_numpy()
        assert match.weights[mine].sum() == pytest.approx(1)
        per_bin = np.bincount(
            match.strata[mine & (match.strata >= 0)], weights=match.weights[mine & (match.strata >= 0)]
        )
        np.testing.assert_allclose(per_bin, 1 / match.bins)
        assert match.effective_n[name] == pytest.approx(effective_sample_size(match.weights[mine]))
        assert match.models[name] + match.outside[name] == 200
    outside = (frame["macs"] < low) | (frame["macs"] > high)
    assert (match.weights[outside] == 0).all()


def test_weights_equal_the_nds_formula():
    """w_i = 1 / (histogram[bin(i)] * bins), as in the notebook of the paper, here over log complexity."""
    frame = two_spaces(np.random.default_rng(1), n=300)
    match = complexity_weights(frame, bins=5)
    mine = ((frame["space"] == "a") & (match.strata >= 0)).to_numpy()
    macs = frame["macs"].to_numpy()[mine]
    counts, edges = np.histogram(np.log(macs), bins=5, range=tuple(np.log(match.edges[[0, -1]])))
    place = np.clip(np.digitize(np.log(macs), edges) - 1, 0, 4)
    np.testing.assert_allclose(match.weights[mine], 1 / (counts[place] * 5))


def test_spaces_without_overlap_are_rejected_and_poor_overlap_gives_warnings():
    frame = pd.DataFrame({"space": ["a"] * 5 + ["b"] * 5, "macs": range(1, 11), "error_percent": 1.0})
    with pytest.raises(
        ValueError, match=r"a and b cannot be matched by macs: no common range \(b starts at 6, a ends at 5\)"
    ):
        complexity_weights(frame)
    frame.loc[frame["space"] == "b", "macs"] = [4, 5, 5, 10, 10]
    with pytest.raises(ValueError, match="a has only 2 models in the common range"):
        complexity_weights(frame)
    with pytest.raises(ValueError, match="a has 3 models of known macs, but at least 4 are needed"):
        complexity_weights(frame.assign(macs=[1, 2, 3, np.nan, np.nan, 1, 2, 3, 4, 5]))
    with pytest.raises(ValueError, match="macs = 0: must be positive"):
        complexity_weights(frame.assign(macs=[0, 2, 3, 4, 5, 1, 2, 3, 4, 5]))
    skewed = pd.DataFrame({"space": ["a"] * 20 + ["b"] * 20, "macs": [*range(1, 21), *([16, 17, 20] * 6), 17, 18]})
    match = complexity_weights(skewed)
    assert match.warnings[0].startswith("a: the matched EDF excludes 15 of 20 models")
    assert any("overlap poorly" in warning for warning in match.warnings)
    assert any("single bin" in warning for warning in match.warnings)
    with pytest.raises(ValueError, match="bins = 10: must be smaller"):
        complexity_weights(skewed, bins=10)


def test_matching_equalizes_the_mean_log_complexity():
    frame = two_spaces(np.random.default_rng(0), n=300)
    match = complexity_weights(frame)
    drawn = np.exp(np.log(frame["macs"]).groupby(frame["space"]).mean())
    assert drawn["b"] / drawn["a"] > 1.1
    assert match.geometric_mean["b"] / match.geometric_mean["a"] == pytest.approx(1, abs=0.02)
