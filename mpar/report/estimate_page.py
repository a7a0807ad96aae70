"""The page and the figure of an estimate: how good predictions are on these videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from mpar.labels.classes import NO_RESPONSES, responses_or_all
from mpar.report.html_page import make_page
from mpar.report.style import INK, TEXT_PT, TEXT_WIDTH_IN, class_colors, new_figure, plain

_COLUMNS = {"precision": "precision", "recall": "recall", "seconds": "seconds in all"}


def estimate_page(
    result: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]] = (),
    sources: Sequence[str] = (),
) -> str:
    """Return an estimate as an HTML page, from `mpar.scores.estimate.Estimate.result`.

    With its history, it has a figure. `sources` says what was checked.
    """
    names = list(result["classes"])
    figures = {"estimates": plot_estimates(history)} if history else {}
    return make_page(
        "estimate.html",
        names,
        [],
        result=result,
        sources=sources,
        figures=figures,
        warning="",
        shown=responses_or_all(names, result["responses"]),
        no_responses="" if result["responses"] else NO_RESPONSES,
        percent=100 * result["level"],
        minutes=result["checked_seconds"] / 60,
    )


def plot_estimates(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot estimates with their intervals over the number of checked stretches.

    A row for each response (each class, if there are none) has panels for precision, recall and
    seconds; bands are the intervals, dashes the predicted seconds.
    """
    names = list(history[0]["classes"])
    shown = responses_or_all(names, history[0]["responses"])
    colors = dict(zip(names, class_colors(len(names)), strict=True))
    figure = new_figure(TEXT_WIDTH_IN, 0.5 + 1.35 * len(shown))
    panels = figure.subplots(len(shown), len(_COLUMNS), squeeze=False, sharex=True)
    for row, name in zip(panels, shown, strict=True):
        for axes, (key, title) in zip(row, _COLUMNS.items(), strict=True):
            known = [
                (point["num_checked"], cell["estimate"], *cell["interval"])
                for point in history
                if (cell := point["classes"][name][key])["estimate"] is not None
            ]
            if known:
                number, value, low, high = zip(*known, strict=True)
                axes.fill_between(
                    number, low, high, facecolor=colors[name], alpha=0.4, edgecolor=INK, lw=0.4
                )
                axes.plot(number, value, color=INK, marker="o", markersize=2, linewidth=1)
            else:
                axes.text(0.5, 0.5, "not known yet", transform=axes.transAxes, ha="center", size=7)
            if key == "seconds":
                predicted = history[-1]["classes"][name][key]["predicted"]
                axes.axhline(predicted, color=INK, linewidth=0.8, linestyle="--")
                axes.set_ylim(bottom=0)
            else:
                axes.set_ylim(-0.03, 1.03)
            axes.tick_params(labelsize=TEXT_PT)
            if axes in panels[0]:
                axes.set_title(title, size=TEXT_PT)
            if axes in panels[-1]:
                axes.set_xlabel("stretches checked", size=TEXT_PT)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        row[0].set_ylabel(plain(name), size=TEXT_PT)
    return figure
