"""Pages of docs/studies, written from the stored tables alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.studies.claims import RULE, UNDECIDED, counted, overall
from benchmarks.studies.definitions import DEFINITIONS
from benchmarks.studies.drawing import claims_figure
from benchmarks.studies.markdown import markdown_table
from benchmarks.studies.study import DISCUSSION, PAGE, PLAN, REPEAT, TABLE, Definition, Results
from designspace.atomic import replace_file
from designspace.figures import figure_bytes

SIZES = (20, 40, 60, 80, 120, 200)
"""Models per space for which a plan states what is detectable."""


def write_plan(study: Definition, results: Results, n: int, why: str, folder: Path) -> None:
    """Write what each number of models can detect, from a pilot.

    Only the variance of the pilot is used, so the pilot can be the first models of the study itself.

    Args:
        study: the study.
        results: of the pilot.
        n: chosen number of models per space (or seeds per network).
        why: the reason for this number.
        folder: of the page.
    """
    claims = study.findings(results)
    rows = []
    for _, row in claims.iterrows():
        known = np.isfinite(row["detectable"])
        sizes = {size: row["detectable"] * np.sqrt(row["n"] / size) if known else None for size in sorted({*SIZES, n})}
        rows.append({"claim": row["claim"], "unit": row["unit"], "pilot_n": int(row["n"]), "detectable": sizes})
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / PLAN, json.dumps({"n": n, "why": why, "claims": rows}, indent=1) + "\n")


def write_page(study: Definition, folder: Path) -> pd.DataFrame:
    """Write the page and the figures of a folder with a stored table and a plan; return the findings.

    Raises:
        ValueError: there is no plan.
    """
    if not (folder / PLAN).exists():
        command = f"python -m benchmarks.studies plan {study.name} RUN"
        raise ValueError(f"{folder / PLAN}: required; before the run, use `{command}`")
    results = Results.read(folder)
    claims = study.findings(results)
    figures = []
    _save(
        folder,
        study,
        "claims",
        (8.5, 1.2 + 0.34 * (len(claims) + 2 * claims["unit"].nunique())),
        lambda figure: claims_figure(claims, figure),
    )
    for drawing in study.drawings:
        _save(folder, study, drawing.name, drawing.size, lambda figure, one=drawing: one.draw(results, figure))
        figures.append((drawing.name, drawing.caption))
    discussion = (folder / DISCUSSION).read_text().strip() if (folder / DISCUSSION).exists() else ""
    plan = json.loads((folder / PLAN).read_text())
    repeat = Results.read(folder / REPEAT) if (folder / REPEAT / TABLE).exists() else None
    replace_file(folder / PAGE, page(study, results, claims, plan, figures, discussion, repeat))
    return claims


def page(
    study: Definition,
    results: Results,
    claims: pd.DataFrame,
    plan: dict[str, Any],
    figures: Sequence[tuple[str, str]],
    discussion: str,
    repeat: Results | None = None,
) -> str:
    """The page as Markdown."""
    commands = [f"designspace sweep experiment={name} run=runs/{name}" for name in study.experiments]
    runs = " ".join(f"runs/{name}" for name in study.experiments)
    parts = [
        f"# {study.title}",
        study.question,
        f"**Verdict: {overall(claims['verdict'])}** ({len(claims)} claims: {counted(claims['verdict'])}).",
        "![Claims](claims.svg)",
        "*Estimates with simultaneous 95 % intervals; brackets are equality margins.*",
        *finding_lines(claims),
        discussion,
        *(repeat_parts(study, results, claims, repeat) if repeat else ()),
        "## Protocol",
        "\n".join(f"- {line}" for line in protocol_lines(results)),
        study.caveats,
        "## Sample size, chosen before the run",
        plan_text(plan),
        "## Rule for the verdict, fixed before the run",
        RULE,
        "## Figures",
        *(f"![{caption}]({name}.svg)\n\n*{caption}*" for name, caption in figures),
        *(section() for section in study.sections),
        "## Commands",
        "```sh\n" + "\n".join([*commands, f"python -m benchmarks.studies write {study.name} {runs}"]) + "\n```",
        f"Every number and figure of this page follows from [{TABLE}]({TABLE}): `python -m benchmarks.studies pages`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def finding_lines(claims: pd.DataFrame) -> list[str]:
    """The table of claims, and what the undecided ones would need."""
    header = ("claim", "source", "expected", "estimate (simultaneous 95 % interval)", "unit", "n", "verdict")
    rows = [
        (row.claim, row.source, row.expected, _interval(row), row.unit, f"{row.n:.0f}", f"**{row.verdict}**")
        for row in claims.itertuples()
    ]
    lines = [markdown_table(header, rows)]
    undecided = claims[(claims["verdict"] == UNDECIDED) & np.isfinite(claims["detectable"])]
    if len(undecided):
        needs = [
            f"- {row.claim}: {row.detectable:.2g} {row.unit} is detectable with 80 % power; "
            + (
                f"about {row.needed:,.0f} per space would be needed if {row.estimate:+.2f} is the true value"
                if np.isfinite(row.needed)
                else "no n suffices"
            )
            for row in undecided.itertuples()
        ]
        lines += ["What the claims that are not detectable would need:", "\n".join(needs)]
    return lines


def repeat_parts(study: Definition, results: Results, claims: pd.DataFrame, repeat: Results) -> list[str]:
    """The section on a second run: what differs in its config, and both findings side by side."""
    again = study.findings(repeat)
    header = ("claim", "unit", "first run", "second run", "verdicts")
    rows = [
        (one.claim, one.unit, _interval(one), _interval(two), " / ".join(dict.fromkeys((one.verdict, two.verdict))))
        for one, two in zip(claims.itertuples(), again.itertuples(), strict=True)
    ]
    before, after = results.runs[0]["config"], repeat.runs[0]["config"]
    changed = ", ".join(f"{name} = {after[name]}" for name in before if after[name] != before[name])
    frame = repeat.table.frame
    trainings = len(frame.drop_duplicates(["spec_id", "seed"]))
    processor = _distinct(frame["device_name"])
    return [
        "## Repeated",
        f"The same command{f' with {changed}' if changed else ''}, {trainings} trainings ({processor}). "
        f"**Verdict of the second run: {overall(again['verdict'])}** ({counted(again['verdict'])}).",
        markdown_table(header, rows),
    ]


def _interval(row: object) -> str:
    estimate, lower, upper = (getattr(row, name) for name in ("estimate", "lower", "upper"))
    return "not measured" if np.isnan(estimate) else f"{estimate:+.2f} ({lower:+.2f} to {upper:+.2f})"


def protocol_lines(results: Results) -> list[str]:
    """Models, seeds, macs, training, processor and time, from the table and the configs."""
    frame, config = results.table.frame, results.runs[0]["config"]
    data, recipe = config["data"], config["recipe"]
    models = frame.drop_duplicates(["space", "index", "spec_id"]).groupby("space", sort=False).size()
    sizes = ", ".join(f"{space} {count}" for space, count in models.items())
    macs = frame["macs"].astype(float) / 1e6
    trained = frame.drop_duplicates(["spec_id", "seed"])  # draws of one network share a training
    status = trained["status"].value_counts().drop("ok", errors="ignore")
    failures = ", ".join(f"{count} {name}" for name, count in status.items()) or "none"
    cpu_seconds = trained["epoch_cpu_seconds"].map(lambda curve: sum(filter(None, curve))).sum()
    hours = f"{trained['train_seconds'].sum() / 3600:.2g} hours of training, {cpu_seconds / 3600:.2g} CPU hours"
    images = f"{data['subset'] or 'all'} training and {data['validation_size']} validation images"
    rate = f"batch size {recipe['batch_size']}, learning rate {recipe['learning_rate']:g}"
    run = results.runs[0]
    return [
        f"models: {sizes}; training seeds: {frame['seed'].nunique()}; trainings: {len(trained)}",
        f"failed or missing: {failures}",
        f"multiply-adds: {macs.min():.3g} to {macs.max():.3g} million",
        f"data: {data['name']}, {images}",
        f"recipe: {recipe['name']}, {recipe['epochs']} epochs, {rate}",
        f"processor: {_distinct(trained['device_name'])} ({_distinct(trained['dtype'])}); {hours}",
        f"versions: torch {run['packages'].get('torch')}, revision {str(run['revision'])[:12]}",
    ]


def _distinct(values: pd.Series) -> str:
    return ", ".join(filter(None, values.dropna().unique()))


def plan_text(plan: dict[str, Any]) -> str:
    """The chosen n, and a table of what each n can detect."""
    sizes = list(plan["claims"][0]["detectable"])
    rows = []
    for row in plan["claims"]:
        values = [row["detectable"][size] for size in sizes]
        cells = ["not measured" if value is None else f"{value:.2g}" for value in values]
        rows.append([row["claim"], row["unit"], str(row["pilot_n"]), *cells])
    return (
        f"Chosen: **n = {plan['n']}**. {plan['why']} The table shows what is detectable with 80 % power at "
        "simultaneous 95 % confidence, from the variance of a pilot: the first models of the study.\n\n"
        + markdown_table(("claim", "unit", "pilot n", *(f"n = {size}" for size in sizes)), rows)
    )


def write_overview(root: Path) -> None:
    """Write the overview of the studies that have a page."""
    rows = []
    for name, study in DEFINITIONS.items():
        if not (root / name / PAGE).exists():
            continue
        verdicts = study.findings(Results.read(root / name))["verdict"]
        link = f"[{study.title}]({name}/{PAGE})"
        rows.append((link, study.question, f"**{overall(verdicts)}**", counted(verdicts)))
    text = [
        "# Studies",
        "Claims of the papers, tested with this toolkit. Each page has the protocol, the sample size chosen before the "
        "run, the findings with simultaneous intervals, and the command.",
        markdown_table(("study", "question", "verdict", "claims"), rows),
        RULE,
        "[Search within a space](search/README.md) compares search strategies with random search, on a table of "
        "trained networks and in training.",
    ]
    replace_file(root / PAGE, "\n\n".join(text) + "\n")


def _save(
    folder: Path, study: Definition, name: str, size: tuple[float, float], draw: Callable[[Figure], None]
) -> None:
    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    replace_file(folder / f"{name}.svg", figure_bytes(figure, "svg", f"{study.name}-{name}").decode())
