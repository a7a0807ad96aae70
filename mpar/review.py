"""Score videos on a local web page, from scratch or by correcting predictions."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import logging
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mpar.errors import ConfigError
from mpar.report.estimate_page import estimate_page
from mpar.report.style import class_colors
from mpar.reviewer.review_config import ReviewConfig
from mpar.reviewer.server import HOST, MAX_BODY_BYTES, make_app
from mpar.reviewer.study import Study
from mpar.reviewer.worklist import ESTIMATE_PAGE
from mpar.system.files import locked, write_text
from mpar.system.folders import Folders

__all__ = ["Review", "ReviewConfig", "opened_review"]

_LOCK_NAME = "mpar-review"
_NUM_THREADS = 8
_SWITCH_SECONDS = 0.0005


class Review:
    """A page that is ready to be served.

    Parameters
    ----------
    study : Study
        What is scored.
    listener : socket.socket
        Where to listen.
    """

    def __init__(self, study: Study, listener: socket.socket) -> None:
        from waitress import create_server

        self.study = study
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(24)
        self.url = f"http://{HOST}:{port}/{token}/"
        colors = class_colors(len(study.class_map.class_names))
        self._server: Any = create_server(
            make_app(study, token, port, colors),
            sockets=[listener],
            threads=_NUM_THREADS,
            max_request_body_size=MAX_BODY_BYTES,
            ident="",
        )

    def serve(self) -> None:
        """Answer requests until the process is interrupted."""
        self._server.run()

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

    def stop(self) -> None:
        """Let `serve` return; may be called from another thread."""
        from waitress.wasyncore import close_all

        # only the serving thread may close what it waits for
        self._server.trigger.pull_trigger(lambda: close_all(self._server._map))

    def close(self) -> None:
        """Close everything after `serve` has returned."""
        # requests that are being answered fail now, which nobody needs to read
        logging.getLogger("waitress").setLevel(logging.CRITICAL + 1)
        self._server.task_dispatcher.shutdown()
        self._server.close()


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
        Files in the output folder cannot be continued.
    """
    missing = [name for name in ("flask", "waitress") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"review: {' and '.join(missing)} not installed; pip install mpar[review]"
        )
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
        listener = stack.enter_context(_listen(port))
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


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":  # there, SO_REUSEADDR would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        if port:
            listener.listen()
    except OSError as error:
        listener.close()
        in_use = error.errno in {errno.EADDRINUSE, errno.EACCES}
        reason = "is in use or reserved" if in_use else f"cannot be opened ({error.strerror})"
        raise ConfigError(f"port: {port} {reason}; choose another --port, or drop it") from None
    return listener
