"""The six studies: questions, claims with their sources, and figures. Decided before the full runs.

The equality margin of 1 point is about a third of the difference between AnyNetX_A and RegNetX in `make demo`.
"""

from __future__ import annotations

from functools import partial

from benchmarks.studies.claims import Claim, Correlations, Means, Pairs, Predictors
from benchmarks.studies.drawing import against, edfs, gradient_norms, grid, manifold, predictors, scaling
from benchmarks.studies.exact import manifold_section, multipliers_section
from benchmarks.studies.study import Definition, Drawing, costs, latency, training_error, width_fit_error

MARGIN = 1.0

equal = partial(Claim, expected="zero", margin=MARGIN)


def _architectural() -> Definition:
    def claims(regime: str) -> tuple[Claim, ...]:
        fig = "RegNet, Fig. 14"
        return (
            Claim(f"b = 1 beats b = 1/2 ({regime})", fig, f"b_1_{regime}", f"b_half_{regime}"),
            Claim(f"b = 1 beats b = 1/4 ({regime})", fig, f"b_1_{regime}", f"b_quarter_{regime}"),
            Claim(f"b = 1 beats depthwise ({regime})", fig, f"b_1_{regime}", f"depthwise_{regime}"),
            Claim(f"b = 1 beats b = 4 ({regime})", "RegNet, Figs. 5 and 11", f"b_1_{regime}", f"b_4_{regime}"),
        )

    spaces = ("b_1", "b_quarter", "b_half", "b_2", "b_4", "depthwise")
    regimes = ("small", "large")
    return Definition(
        "architectural",
        "Architectural bottlenecks",
        "At equal multiply-adds, is RegNetX without a bottleneck (b = 1) better than with a bottleneck (b > 1), an "
        "inverted bottleneck (b < 1) or depthwise convolutions?",
        ("study_architectural",),
        tuple(Means(claims(regime)) for regime in regimes),
        tuple(
            Drawing(
                f"edf_{regime}",
                f"Error EDFs of the {regime} networks with simultaneous 95 % bands.",
                edfs(*(f"{space}_{regime}" for space in spaces)),
            )
            for regime in regimes
        ),
        "The small networks have 1 to 2 million multiply-adds, and the large ones 2 to 4 million. No claim is about "
        "b = 2.",
    )


def _ladder() -> Definition:
    spaces = ("anynetx_a", "anynetx_b", "anynetx_c", "anynetx_d", "anynetx_e", "regnetx")
    a, b, c, d, e, regnetx = spaces
    return Definition(
        "ladder",
        "From AnyNetX to RegNetX",
        "Does each step of RegNet's design process keep or improve the error distribution, and do networks whose "
        "widths follow the quantized linear rule have smaller errors?",
        ("study_ladder",),
        (
            Means(
                (
                    equal("A shared b changes nothing (B = A)", "RegNet, Fig. 5 left", b, a),
                    equal("A shared g changes nothing (C = B)", "RegNet, Fig. 5 middle", c, b),
                    Claim("Increasing widths are better (D beats C)", "RegNet, Fig. 7 left", d, c),
                    Claim("Increasing depths are better (E beats D)", "RegNet, Fig. 7 right", e, d),
                    Claim("Quantized linear widths are better (RegNetX beats E)", "RegNet, Fig. 9 left", regnetx, e),
                    Claim("All steps together: RegNetX beats A", "RegNet, Fig. 10", regnetx, a),
                )
            ),
            Means(
                (Claim("The width fit error falls from C to E", "RegNet, Fig. 8 bottom", e, c),),
                "e_fit",
                "mean |log ratio|",
            ),
            Correlations(
                (
                    Claim(
                        "The error rises with the width fit error in C",
                        "RegNet, Fig. 8 bottom",
                        "e_fit",
                        "error_percent",
                        "positive",
                    ),
                ),
                "anynetx_c",
            ),
        ),
        (
            Drawing("edf", "Error EDFs with simultaneous 95 % bands.", edfs(*spaces)),
            Drawing(
                "e_fit",
                "Error against the width fit error, with the means of groups of networks.",
                against("e_fit", c, e, label="width fit error (mean |log ratio|)"),
            ),
        ),
        "The claim about all steps together was added after the pilot, before its differences were looked at.",
        (width_fit_error,),
    )


def _representational() -> Definition:
    linear, nonlinear, expansions, none = "linear", "nonlinear", "shortcut_expansions", "shortcut_none"
    fig = "MobileNetV2, Fig. 6"
    lost = "Less effective rank at the narrow point, larger error (nonlinear projections)"
    return Definition(
        "representational",
        "Representational bottlenecks",
        "Does a nonlinearity at the narrow end of an inverted block lose information and accuracy, and where should "
        "the shortcut be?",
        ("study_representational",),
        (
            Pairs(
                (
                    Claim("A linear projection beats a nonlinear one", f"{fig}a", linear, nonlinear),
                    Claim("Shortcuts between bottlenecks beat those between expansions", f"{fig}b", linear, expansions),
                    Claim("Shortcuts between expansions beat none", f"{fig}b", expansions, none),
                )
            ),
            Correlations((Claim(lost, "MobileNetV2, § 3.2", "mean_block_rank_after", "error_percent"),), nonlinear),
        ),
        (
            Drawing("edf", "Error EDFs with simultaneous 95 % bands.", edfs(linear, nonlinear, expansions, none)),
            Drawing(
                "rank",
                "Error against the effective rank at the narrow point, mean over the blocks.",
                against("mean_block_rank_after", linear, nonlinear, label="effective rank, mean over the blocks"),
            ),
            Drawing(
                "manifold",
                "A spiral embedded in n dimensions by a random matrix T, after ReLU and T⁻¹ (one matrix each), and the "
                "collapsed fraction and the reconstruction errors of 1,000 matrices (median and quartiles).",
                manifold,
                (9, 5.6),
            ),
        ),
        "The networks of one index are equal up to the ablation, which changes no count. They are compared in pairs. "
        "The effective rank is the participation ratio of the activations of a fixed batch (`probe: true`).",
        sections=(manifold_section,),
    )


def _computational() -> Definition:
    def better(target: str) -> tuple[Claim, ...]:
        fig = "RegNet, Fig. 12"
        return (Claim(f"acts predict the {target} time better than macs", fig, "acts", "macs", "positive"),)

    table = "MobileNetV1, Tables 6 and 7"
    costs_of = {"macs": "macs", "acts": "acts", "params": "params", "training_memory_bytes": "training memory (bytes)"}
    return Definition(
        "computational",
        "Computational bottlenecks",
        "Which of macs, acts, params and training memory predicts the time to train and to predict? Are separable "
        "convolutions better than full ones at equal multiply-adds, and what do narrow networks and small images cost?",
        ("study_computational",),
        (
            Predictors(better("training"), "regnetx", "training_cpu_seconds"),
            Predictors(better("inference"), "regnetx", "latency_seconds"),
            Means(
                (
                    Claim(
                        "Separable convolutions beat full ones at equal macs",
                        "MobileNetV1, Table 4",
                        "separable",
                        "full",
                    ),
                )
            ),
            Correlations(
                (
                    Claim("Wider networks have smaller errors", table, "width_factor", "error_percent"),
                    Claim("Larger images have smaller errors", table, "resolution_factor", "error_percent"),
                ),
                "multipliers",
            ),
        ),
        (
            Drawing(
                "training_time",
                "Training time against each complexity.",
                predictors("training_cpu_seconds", "CPU time of the training (s)", "regnetx", costs_of),
                (9, 3.2),
            ),
            Drawing(
                "latency",
                "Inference time of 64 images against each complexity.",
                predictors("latency_seconds", "time of 64 images (s)", "regnetx", costs_of),
                (9, 3.2),
            ),
            Drawing("separable", "Error EDFs with simultaneous 95 % bands.", edfs("separable", "full")),
            Drawing(
                "multipliers",
                "Error of MobileNetV1 with width and resolution multipliers.",
                against("macs", "multipliers"),
            ),
        ),
        "RegNet measured a V100 GPU; these are times of the processor above. The time to train is CPU time on a CPU. "
        "MobileNetV1 compares separable and full convolutions in one architecture (0.57 and 4.9 GF), not at equal "
        "macs.",
        (costs, latency),
        (multipliers_section,),
    )


def _depth() -> Definition:
    plain, deep_plain, residual, deep_residual = "plain_shallow", "plain_deep", "residual_shallow", "residual_deep"
    spaces = (plain, deep_plain, residual, deep_residual)
    table = "ResNet, Table 2 and Fig. 4"
    return Definition(
        "depth",
        "Depth and residuals",
        "At equal multiply-adds, do deep plain networks have larger training errors than shallow ones, and do "
        "shortcuts remove this degradation?",
        ("study_depth",),
        (
            Means(
                (
                    Claim("Plain: the training error rises with depth", table, plain, deep_plain),
                    Claim("Residual: the training error falls with depth", table, deep_residual, residual),
                    Claim("Deep: residual networks have the smaller training error", table, deep_residual, deep_plain),
                ),
                "train_error_percent",
                "points of training error",
            ),
            Means(
                (
                    equal("Shallow: plain and residual networks have equal errors", "ResNet, Table 2", plain, residual),
                    Claim(
                        "Deep: residual networks have the smaller error", "ResNet, Table 2", deep_residual, deep_plain
                    ),
                )
            ),
        ),
        (
            Drawing(
                "train_error",
                "Training error against depth, with the means of groups of networks.",
                against("depth", *spaces, quantity="train_error_percent"),
            ),
            Drawing("edf", "Validation error EDFs with simultaneous 95 % bands.", edfs(*spaces)),
            Drawing(
                "gradients",
                "L2 norm of the gradient of each part, mean over the first epoch and over the last one: median and "
                "quartiles over the networks.",
                gradient_norms(*spaces),
                (9, 3.6),
            ),
        ),
        "ResNet adds layers, so its deeper networks have more multiply-adds. Here deeper networks are narrower. The "
        "training error is the mean over the last epoch, while the weights change.",
        (training_error,),
    )


def _scaling() -> Definition:
    def claims(growth: int) -> tuple[Claim, ...]:
        names = {"d": "depth", "w": "width", "r": "resolution"}
        return tuple(
            Claim(
                f"Compound scaling beats {name} ({growth}×)",
                "EfficientNet, Table 7 and Fig. 8",
                f"dwr_{growth}",
                f"{rule}_{growth}",
            )
            for rule, name in names.items()
        )

    fast = equal("Mainly width (dWr) is as good as dwr (4×)", "Fast compound scaling, § 5", "dWr_4", "dwr_4")
    return Definition(
        "scaling",
        "Compound scaling",
        "Is it better to spend 2 or 4 times the multiply-adds of a small network on depth, width and resolution "
        "together than on one of them?",
        ("study_scaling", "study_scaling_grid"),
        (
            Means(claims(2), match=None, trainings=True),
            Means((*claims(4), fast), match=None, trainings=True),
        ),
        (
            Drawing("scaling", "Mean and standard deviation of the error over seeds.", scaling),
            Drawing("grid", "The grid of α, β and γ at φ = 1, mean and standard deviation over seeds.", grid),
        ),
        "Every space is one network, trained with several seeds, so the intervals describe training noise and not "
        "other networks. Rounding to whole blocks, 8 channels and 4 pixels leaves differences in macs, which the "
        "figure shows. At this size, dwr and dWr give the same network at 2×.",
    )


DEFINITIONS = {
    one.name: one for one in (_architectural(), _ladder(), _representational(), _computational(), _depth(), _scaling())
}
"""The studies by name."""
