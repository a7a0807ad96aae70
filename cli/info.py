"""mpar-info: show the contents of a cache or a checkpoint, and check a cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from mpar_cli import _options
from mpar_cli._run import ERROR_EXIT, command, show_message, show_table, show_video_warnings

from mpar.errors import counted
from mpar.system.progress import Bar

if TYPE_CHECKING:
    from mpar.cache.store import Store
    from mpar.labels.classes import ClassMap


@click.command()
@click.argument("path", metavar="CACHE|CHECKPOINT", type=_options.FILE)
@click.option("--verify", is_flag=True, help="Check every byte of a cache.")
@_options.quiet
@_options.version
@command
def main(path: Path, verify: bool, quiet: bool) -> int:
    """Show the contents of a CACHE or a CHECKPOINT."""
    if path.suffix == ".pt":
        _show_checkpoint(path)
        return 0
    return _show_store(path, verify, quiet)


def _show_store(path: Path, verify: bool, quiet: bool) -> int:

    from mpar.cache.store import Store
    from mpar.video.following import describe_following

    with Store(path) as store:
        height, width = store.frame_size
        num_frames = sum(info.num_frames for info in store.recordings)
        click.echo(
            f"{path}: mpar cache, {len(store)} recordings of "
            f"{len({info.group for info in store.recordings})} animals, {num_frames:,} frames of "
            f"{width}x{height} px" + _rate_text(store)
        )
        if store.following:
            click.echo(f"the network sees {describe_following(store.following)}")
        click.echo(f"classes: {', '.join(store.class_names)}")
        click.echo(f"responses: {_responses_text(store.class_map)}")
        rows = [["recording", "animal", "fps", "annotators", "labelled", "frames"]]
        for number, info in enumerate(store.recordings):
            rows.append(
                [
                    info.name,
                    info.group,
                    f"{float(info.fps):.6g}",
                    ", ".join(info.annotators),
                    f"{int((store.labels(number) >= 0).sum()):,}",
                    f"{info.num_frames:,}",
                ]
            )
        show_table(rows)
        show_video_warnings(store.recordings)
        if not verify:
            return 0
        with Bar(total=num_frames, unit="frame", quiet=quiet) as bar:
            problems = store.verify(bar.update)
    for problem in problems:
        show_message(problem)
    click.echo("damaged" if problems else "sound: every checksum matches")
    return ERROR_EXIT if problems else 0


def _rate_text(store: Store) -> str:
    """Return the rate of a cache that samples some of its videos, else ""."""
    sampled = [info for info in store.recordings if info.has_own_steps]
    if not sampled:
        return ""
    rate = f"{float(sampled[0].rate or 0):.6g}"
    return f"; {counted(len(sampled), 'recording')} sampled at {rate} frames per second"


def _show_checkpoint(path: Path) -> None:
    from mpar.network.checkpoint import load_checkpoint
    from mpar.network.config import NO_NETWORK
    from mpar.network.mixture import Experts
    from mpar.network.predictor import fitted_post
    from mpar.video.following import describe_following

    checkpoint = load_checkpoint(path)
    kind = "none"
    if checkpoint.model_config.model_type != NO_NETWORK:
        net = checkpoint.build_net()
        kind = f"{net.config.model_type}, {net.num_parameters():,} parameters"
    experts = Experts.from_dict(checkpoint.experts)
    height, width = checkpoint.frame_size
    look = checkpoint.data["look"]
    classes = checkpoint.class_map.class_names
    click.echo(f"{path}: mpar checkpoint, made by mpar {checkpoint.version}")
    rows = [
        ["what", "value"],
        ["network", kind],
        ["clip length", f"{checkpoint.model_config.clip_length} frames"],
        ["frames", f"{width}x{height} px"],
        ["the network sees", describe_following(checkpoint.following)],
        ["mean grey level", _range_text(look["brightness"])],
        ["contrast", _range_text(look["contrast"])],
        ["frames per second", _range_text(look["fps"])],
        ["classes", ", ".join(classes)],
        ["responses", _responses_text(checkpoint.class_map)],
        ["epoch", str(checkpoint.scores.get("epoch"))],
    ]
    if validation := checkpoint.scores.get("validation"):
        rows.append(["validation macro-F1", f"{validation['macro_f1']:.3f}"])
        for name, scores in validation["classes"].items():
            text = "n/a" if scores["f1"] is None else f"{scores['f1']:.3f}"
            rows.append([f"  F1 {name}", text])
    if checkpoint.post:
        rows.append(["post-processing", fitted_post(checkpoint).describe(classes)])
        rows += [
            [f"  validation {name}", f"macro-F1 {x['macro_f1']:.3f}, bouts F1 {x['event_f1']:.3f}"]
            for name, x in checkpoint.post["effect"].items()
        ]
    powers = (f"{name} to the power {power:g}" for name, power in experts.powers.items() if power)
    rows.append(["counts as", ", ".join(powers) or "nothing yet"])
    if experts.features is not None:
        rows.append(["features", f"{experts.features.source}, not part of this file"])
        rows.append(["  sha256", experts.features.digest])
    rows += [[f"{part} recordings", str(len(items))] for part, items in checkpoint.split.items()]
    rows.append(["sha256", checkpoint.digest])
    show_table(rows)


def _responses_text(class_map: ClassMap) -> str:
    return ", ".join(class_map.responses) or "none is marked in the class map"


def _range_text(values: list[float]) -> str:
    least, greatest = (f"{value:.4g}" for value in values)
    return least if least == greatest else f"{least} to {greatest}"


if __name__ == "__main__":
    main()
