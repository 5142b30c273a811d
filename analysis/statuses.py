"""Status words of Optuna, W&B, Ray Tune, MLflow and SLURM as ours."""

from __future__ import annotations

import pandas as pd

from analysis.failures import MISSING, OK
from designspace.validated import shorten

WORDS = {
    OK: ("ok", "success", "succeeded", "successful", "done", "complete", "completed", "finished", "terminated"),
    MISSING: (
        *("missing", "running", "pending", "waiting", "queued", "scheduled", "paused"),
        *("preempted", "preempting", "node_fail"),
    ),
    "diverged": ("diverged", "nan"),
    "timeout": ("timeout", "timed_out"),
    "out_of_memory": ("out_of_memory", "oom"),
    "pruned": ("pruned",),
    "killed": ("killed", "cancelled", "canceled", "aborted", "interrupted"),
    "crashed": ("crashed", "crash", "failed", "fail", "failure", "error", "errored"),
}
"""Our statuses and the words for them, in any case, "_" also as " " or "-". All but ok and missing are failures.

A machine that was taken away (preempted, node_fail) says nothing about the network, which is then not trained yet. A
pruned trial was stopped because its first epochs looked bad: a failure of its own kind, since leaving it out would
flatter the space and its intermediate error is not a final one. Ray's TERMINATED also covers trials that a scheduler
stopped early, which the word does not say."""

_MEANINGS = {word: status for status, words in WORDS.items() for word in words}


def read_statuses(words: pd.Series, place: str) -> tuple[pd.Series, str]:
    """Status words as ours.

    Args:
        words: text, None where nothing is said.
        place: the file, for the error.

    Returns:
        Our statuses, None where nothing is said; a sentence on how words of other tools were read, "" without any.

    Raises:
        ValueError: words that are not in WORDS.
    """
    meanings = {word: _MEANINGS.get(_normal(word)) for word in words.dropna().unique()}
    unknown = [word for word, status in meanings.items() if status is None]
    if unknown:
        counts = ", ".join(f"{shorten(word)} ({int((words == word).sum())})" for word in unknown[:10])
        allowed = "; ".join(f"{status}: {', '.join(spellings)}" for status, spellings in WORDS.items())
        raise ValueError(f"{place}: status = {counts}: unknown; understood in any case are {allowed}")
    foreign = {status: [word for word, own in meanings.items() if own == status != word] for status in WORDS}
    parts = [f"{', '.join(spellings)} as {_meaning(status)}" for status, spellings in foreign.items() if spellings]
    return words.map(meanings).where(words.notna(), None), f"status words are read: {'; '.join(parts)}" if parts else ""


def _normal(word: str) -> str:
    """TrialState.COMPLETE as complete, "Timed out" as timed_out."""
    return word.rpartition(".")[2].strip().casefold().replace(" ", "_").replace("-", "_")


def _meaning(status: str) -> str:
    if status == OK:
        return status
    return "not trained yet" if status == MISSING else f"{status} (a failure)"
