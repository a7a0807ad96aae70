"""Score videos on a local web page, from scratch or by correcting predictions."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from mpar.errors import ConfigError
from mpar.report.estimate_page import estimate_page
from mpar.report.style import class_colors
from mpar.reviewer.review_config import ReviewConfig
from mpar.reviewer.server import make_app
from mpar.reviewer.study import Study
from mpar.reviewer.worklist import ESTIMATE_PAGE
from mpar.system.files import locked, write_text
from mpar.system.folders import Folders
from mpar.system.serving import PageServer, check_packages, listen

__all__ = ["Review", "ReviewConfig", "opened_review"]

_LOCK_NAME = "mpar-review"
_SWITCH_SECONDS = 0.0005


class Review(PageServer):
    """A page that is ready to be served.

    Parameters
    ----------
    study : Study
        What is scored.
    listener : socket.socket
        Where to listen.
    """

    def __init__(self, study: Study, listener: socket.socket) -> None:
        self.study = study
        colors = class_colors(len(study.class_map.class_names))
        super().__init__(lambda token, port: make_app(study, token, port, colors), listener)

    def write_estimate(self) -> Path | None:
        """Write the page of an estimate with checked stretches; return its path."""
        checking = self.study.checking
        if checking is None or not checking.estimate.num_checked:
            return None
        estimate = checking.estimate
        path = self.study.output_folder / ESTIMATE_PAGE
        sources = [f"{len(self.study.recordings)} recordings, {self.study.annotator}"]
        write_text(path, estimate_page(estimate.result(), estimate.history(), sources))
        return path


@contextlib.contextmanager
def opened_review(
    video_folder: Folders,
    output_folder: Path | str,
    *,
    predictions_folder: Path | str | None = None,
    config: ReviewConfig | None = None,
    port: int = 0,
) -> Iterator[Review]:
    """Prepare the page for the videos of a folder.

    Parameters
    ----------
    video_folder : Path, str or sequence of them
        Searched with its subfolders; nothing in it is changed.
    output_folder : Path or str
        Where scorings go, and where those of others are found; created if it does not exist.
    predictions_folder : Path or str, optional
        From mpar-predict.
    config : ReviewConfig, optional
        What to show, and who scores.
    port : int
        Port on this computer; 0 takes any that is free.

    Raises
    ------
    ConfigError
        Flask or waitress is missing, the port is in use, or another process scores into the same
        folder.
    InputError
        Names of videos or regions do not fit.
    """
    check_packages("review")
    output_folder = Path(output_folder)
    if output_folder.exists() and not output_folder.is_dir():
        raise ConfigError(f"{output_folder}: is a file, expected a folder; choose another --output")
    with contextlib.ExitStack() as stack:
        # threads that read long tables must not hold up those that answer
        stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(_SWITCH_SECONDS)
        lock = locked(output_folder / _LOCK_NAME)
        try:
            stack.enter_context(lock)
        except ConfigError:
            raise ConfigError(
                f"{output_folder}: another mpar-review writes there; close it, or choose another "
                "--output"
            ) from None
        listener = stack.enter_context(listen(port))
        study = Study(
            video_folder,
            output_folder,
            None if predictions_folder is None else Path(predictions_folder),
            config or ReviewConfig(),
        )
        stack.callback(study.close)
        review = Review(study, listener)
        stack.callback(review.close)
        yield review
