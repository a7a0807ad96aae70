"""Scores as text of fixed width, beginning with the responses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpar.labels.classes import NO_RESPONSES, responses_or_all
from mpar.scores.agreement import Agreement, RaterPair
from mpar.scores.baselines import BASELINE_NAMES
from mpar.scores.bootstrap import LEVEL
from mpar.scores.calibration import Calibration
from mpar.scores.events import CRITERIA, SHOWN_CRITERIA, EventScores
from mpar.scores.metrics import score_text
from mpar.system.text import text_table

FEW_ANIMALS = 10


def report_text(
    agreement: Agreement,
    responses: Collection[str],
    calibration: Calibration | None = None,
    raters: Sequence[RaterPair] = (),
    effect: Mapping[str, Mapping[str, float]] | None = None,
    baselines: Mapping[str, Any] | None = None,
) -> str:
    """Return all scores as text, the responses first; what is empty or None is left out."""
    blocks = [_main_block(agreement, responses)]
    blocks += [_baseline_block(baselines, responses)] if baselines else []
    blocks += [agreement.frames.report(), _event_block(agreement.events)]
    if effect:
        blocks.append(
            "\n".join(
                f"{words} post-processing: macro-F1 {scores['macro_f1']:.3f}, mean bout F1 "
                f"{scores['event_f1']:.3f}"
                for words, scores in (("without", effect["raw"]), ("with", effect["post"]))
            )
        )
    if calibration is not None:
        blocks.append(
            f"expected calibration error {calibration.expected_error:.3f} over "
            f"{calibration.num_frames.sum():,} frames: mean absolute difference between confidence "
            "and the share of correct frames"
        )
    if raters:
        blocks.append(_rater_block(raters, agreement.frames.class_names))
    return "\n\n".join(blocks)


def _main_block(agreement: Agreement, responses: Collection[str]) -> str:
    frames, intervals = agreement.frames, agreement.intervals
    num_animals = len(agreement.animals)
    named = [k for k, name in enumerate(frames.class_names) if name in responses]
    rows = [["frames of", "recall", "specificity", "F1"]]
    rows += [
        [
            frames.class_names[k],
            _with_interval(frames.recall[k], intervals["recall"][k]),
            _with_interval(frames.specificity[k], intervals["specificity"][k]),
            _with_interval(frames.f1[k], intervals["f1"][k]),
        ]
        for k in named or range(len(frames.class_names))
    ]
    macro_f1 = _with_interval(frames.macro_f1, intervals["macro_f1"])
    lines = [*text_table(rows), f"macro-F1 {macro_f1}"]
    lines += [] if named else [f"all classes are shown: {NO_RESPONSES}"]
    if num_animals < 2:
        lines.append("no confidence intervals: all recordings are of one animal")
    else:
        lines.append(
            f"[{100 * LEVEL:.0f} % confidence intervals, bootstrap over {num_animals} animals]"
        )
        shown = [intervals[name][named or slice(None)] for name in ("recall", "specificity", "f1")]
        if any((ends[..., 0] == ends[..., 1]).any() for ends in (*shown, intervals["macro_f1"])):
            lines.append(
                "an interval has zero width because all animals scored alike; other animals may "
                "differ"
            )
    if 2 <= num_animals < FEW_ANIMALS:
        lines.append(f"with only {num_animals} animals, the confidence intervals are rough")
    return "\n".join(lines)


def _baseline_block(baselines: Mapping[str, Any], responses: Collection[str]) -> str:
    found = baselines["scores"]
    names = list(found["mpar"]["f1"])
    shown = responses_or_all(names, responses)
    rows = [["on the same frames", "macro-F1", "accuracy", *(f"F1 {name}" for name in shown)]]
    rows += [
        [
            BASELINE_NAMES[key],
            _with_interval(scores["macro_f1"], scores["interval"]),
            score_text(scores["accuracy"]),
            *(score_text(scores["f1"][name]) for name in shown),
        ]
        for key, scores in found.items()
    ]
    says = filter(None, (baselines["best_alone"], baselines["verdict"]))
    return "\n".join([*text_table(rows), *says])


def _event_block(events: EventScores) -> str:
    shown = [CRITERIA.index(criterion) for criterion in SHOWN_CRITERIA]
    rows = [["bouts, matched 1:1", "true", "predicted", *(f"F1, {CRITERIA[c]}" for c in shown)]]
    rows += [
        [
            name,
            f"{events.num_true[k]:,}",
            f"{events.num_predicted[k]:,}",
            *(score_text(events.f1[c, k]) for c in shown),
        ]
        for k, name in enumerate(events.class_names)
    ]
    return "\n".join(text_table(rows))


def _rater_block(raters: Sequence[RaterPair], class_names: Sequence[str]) -> str:
    rows = [["scored by", "Cohen's kappa", "frames", *(f"F1 {name}" for name in class_names)]]
    rows += [
        [
            f"{pair.first} and {pair.second}",
            score_text(pair.kappa),
            f"{pair.num_frames:,}",
            *map(score_text, pair.f1),
        ]
        for pair in raters
    ]
    names = {pair.first for pair in raters if pair.with_network}
    notes = [
        f"{name} is the network; expect it to agree with annotators at most as well as they agree "
        "with each other"
        for name in names
    ]
    return "\n".join([*text_table(rows), *notes])


def _with_interval(score: float, interval: NDArray[np.float64] | list[float] | None) -> str:
    ends = (
        ""
        if interval is None or np.isnan(interval).any()
        else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
    )
    return f"{score_text(score)}{ends}"
