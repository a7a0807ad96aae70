"""The summary at the end of mpar-train says what is in the files, and nothing else."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from mpar_cli.train import main

from mpar.cache.store import Store
from mpar.learning.splits import class_counts, read_split
from mpar.network.checkpoint import load_checkpoint
from mpar.train import best_checkpoint

RECIPE = "--model light --clip-length 8 --window 24 --batch-size 8 --device cpu --quiet"


def summary_of(*arguments):
    """Run mpar-train; return the run folder and what it printed on stdout."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    run = re.search(r"^curves, images +tensorboard --logdir (.+)$", result.stdout, re.MULTILINE)
    return run[1], result.stdout


def cells(text, name):
    """Return the cells of a class's row."""
    (row,) = re.findall(rf"^{name} +(.*)$", text, re.MULTILINE)
    return row.split()


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_summary_agrees_with_the_files(study, tmp_path):
    """Every number on the screen is one of the checkpoint, the split or the evaluation."""
    run, text = summary_of(study.cache, "-o", tmp_path, "--epochs", 2, *RECIPE.split())
    best = best_checkpoint(run)
    validation = load_checkpoint(best).scores["validation"]
    metrics = Path(run, "evaluation", "metrics.json").read_text(encoding="utf-8")
    tested = json.loads(metrics)["scores"]
    epoch = load_checkpoint(best).scores["epoch"]
    assert f"best epoch  {epoch}; all 2 epochs complete" in text
    assert f"validation  macro-F1 {validation['macro_f1']:.3f}" in text
    assert f"test        macro-F1 {tested['macro_f1']:.3f}" in text
    with Store(study.cache) as store:
        train = class_counts(store, read_split(f"{run}/split.csv", store).train)
    for name, count in zip(tested["class_names"], train, strict=True):
        mine = tested["classes"][name]
        scores = validation["classes"][name]["f1"], mine["f1"], mine["recall"]
        f1, test_f1, recall = ("n/a" if s is None else f"{s:.3f}" for s in scores)
        assert cells(text, name) == [str(count), f1, test_f1, recall, str(mine["support"])]
    for place in (best, f"{run}/metrics.csv", f"{run}/evaluation", f"mpar-train --resume {run}"):
        assert str(place) in text
    assert len(text.splitlines()) <= 24
    assert "same-animal" not in text
    assert summary_of("--resume", run, "--device", "cpu", "--quiet")[1] == text


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_summary_without_a_test_part(study, tmp_path):
    """No test part, no test scores; early stopping and classes without frames are named."""
    with Store(study.cache) as store:
        names = [info.name for info in store.recordings]
        absent = [
            (
                i,
                [
                    n
                    for n, c in zip(store.class_names, class_counts(store, [i]), strict=True)
                    if not c
                ],
            )
            for i in range(len(store))
        ]
    val = max(absent, key=lambda item: len(item[1]))[0]
    rows = [f"{name},{'val' if i == val else 'train'}" for i, name in enumerate(names)]
    (tmp_path / "split.csv").write_text("\n".join(["Recording,Part", *rows]))
    options = "--learning-rate 1e-12 --patience 1 --epochs 9".split()
    options += ["--split", tmp_path / "split.csv", "-o", tmp_path / "runs"]
    _, text = summary_of(study.cache, *options, *RECIPE.split())
    assert "no test part, so the scores on new animals are unknown" in text
    assert not re.search(r"^(test|held-out) +macro-F1|test F1", text, re.MULTILINE)
    assert "same-animal: holds recordings" in text
    assert "stopped by --patience after epoch 2: 1 in a row without a better validation" in text
    if missing := dict(absent)[val]:
        assert f"classes without validation frames: {', '.join(missing)}" in text
