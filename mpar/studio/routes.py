"""The window as a server: each address calls the study and answers with JSON or a file."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpar.errors import MparError
from mpar.studio import moving, tables
from mpar.studio.importing import MAX_FILE_BYTES
from mpar.studio.results import SENT
from mpar.studio.runs import report_of
from mpar.studio.study import Commands
from mpar.studio.videos import animal_of
from mpar.studio.window import Studio, list_folder
from mpar.system.serving import PageServer, check_packages, closed_app, json_body, listen

if TYPE_CHECKING:
    from flask import Flask, Response

_PAGE = Path(__file__).parent / "page"
# reports hold their own scripts and styles; in a sandbox they reach nothing else
_SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:"
)
_SHOWN_IN_PAGE = {".png", ".txt", ".csv", ".json", ".html", ".pdf"}


@contextlib.contextmanager
def opened_studio(
    commands: Commands, folder: Path | str | None = None, *, port: int = 0
) -> Iterator[PageServer]:
    """Prepare the window of a study.

    Parameters
    ----------
    commands : Commands
        What jobs run.
    folder : Path or str, optional
        With a ``study.json``; by default, one is chosen or made on the page.
    port : int
        Port on this computer; 0 takes any that is free.

    Raises
    ------
    ConfigError
        Flask or waitress is missing, the study cannot be read, the port is in use, or another
        window of this study is open.
    """
    check_packages("studio")
    with contextlib.ExitStack() as stack:
        studio = Studio(commands, None if folder is None else Path(folder))
        stack.callback(studio.close)
        listener = stack.enter_context(listen(port))
        if folder is not None:
            studio.run_jobs()
        server = PageServer(
            lambda token, number: make_app(studio, token, number), listener, MAX_FILE_BYTES
        )
        stack.callback(server.close)
        yield server


def make_app(studio: Studio, token: str, port: int) -> Flask:
    """Return the application."""
    log_folder = studio.folder or Path(tempfile.gettempdir())
    app = closed_app("mpar-studio", token, port, _PAGE, log_folder)

    @app.errorhandler(MparError)
    def show_error(error: MparError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 422

    @app.errorhandler(tables.ChangedError)
    def show_changed(error: tables.ChangedError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 409

    _add_choice(app, token, studio)
    _add_reading(app, token, studio)
    _add_files(app, token, studio)
    _add_tables(app, token, studio)
    _add_actions(app, token, studio)
    return app


def _add_choice(app: Flask, token: str, studio: Studio) -> None:
    """Add what chooses folders and studies."""
    from flask import request

    @app.get(f"/{token}/folders")
    def show_folders() -> dict[str, Any]:
        return list_folder(_path(request.args.get("path", "")))

    @app.post(f"/{token}/open")
    def open_study() -> dict[str, Any]:
        body = json_body()
        folder = _path(body.get("folder"))
        if body.get("is_demo") is True:
            studio.make_demo(folder)
        elif body.get("videos") is not None:
            studio.make(folder, _paths(body["videos"]))
        else:
            studio.open(folder)
        studio.run_jobs()
        return {}

    @app.post(f"/{token}/video-folders")
    def change_folders() -> dict[str, Any]:
        studio.set_videos(_paths(json_body().get("folders")))
        return {}

    @app.post(f"/{token}/look-in")
    def look_in() -> dict[str, Any]:
        return moving.look_in(studio.study(), _path(json_body().get("folder")))


def _add_reading(app: Flask, token: str, studio: Studio) -> None:
    from flask import request

    @app.get(f"/{token}/state")
    def show_state() -> dict[str, Any]:
        return studio.state()

    @app.get(f"/{token}/videos")
    def show_videos() -> dict[str, Any]:
        study = studio.study()
        studio.videos.look(study)
        return studio.videos.state(study) | {"labelled": studio.videos.labelled()}

    @app.post(f"/{token}/pattern")
    def try_pattern() -> dict[str, Any]:
        pattern = str(json_body().get("pattern", ""))[:200]
        return {"animals": {str(v): animal_of(v, pattern) for v in studio.videos.all()}}

    @app.get(f"/{token}/run")
    def show_run() -> dict[str, Any]:
        return report_of(studio.study(), request.args.get("name", ""))

    @app.get(f"/{token}/methods")
    def show_methods() -> dict[str, Any]:
        return {"text": studio.methods(studio.study())}

    @app.get(f"/{token}/log")
    def show_log() -> dict[str, Any]:
        return {"lines": studio.jobs.output(request.args.get("number", 0, int), is_whole=True)[1]}


def _add_files(app: Flask, token: str, studio: Studio) -> None:
    from flask import abort, request, send_file

    @app.get(f"/{token}/picture")
    def show_picture() -> Response:
        video = studio.videos.video_named(request.args.get("id", "")) if studio.folder else None
        path = None if video is None else studio.videos.picture_path(video)
        if path is None or not path.is_file():
            abort(404)
        return send_file(path, mimetype="image/jpeg")

    @app.get(f"/{token}/file/<path:relative>")
    def show_file(relative: str) -> Response:
        path = studio.path_of(relative)
        if path is None:
            abort(404)
        suffix = path.suffix.lower()
        is_download = suffix not in _SHOWN_IN_PAGE or request.args.get("download") == "1"
        answer = send_file(
            path, mimetype=SENT[suffix], as_attachment=is_download, download_name=path.name
        )
        if suffix == ".html":
            answer.headers["Content-Security-Policy"] = _SANDBOX
        return answer


def _add_tables(app: Flask, token: str, studio: Studio) -> None:
    """Add what reads and writes label files and tables."""
    from flask import request

    def body_of_file() -> bytes:
        request.max_content_length = MAX_FILE_BYTES
        return request.get_data(cache=False)

    @app.post(f"/{token}/import")
    def receive_labels() -> dict[str, Any]:
        studio.study()
        studio.imports.receive(request.args.get("name", ""), body_of_file())
        return {}

    @app.get(f"/{token}/import")
    def show_labels() -> dict[str, Any]:
        study = studio.study()
        studio.videos.look(study)
        problems = studio.videos.problems_with(study, studio.imports.staged)
        return {"files": studio.imports.preview(study, studio.videos.all(), problems)}

    @app.post(f"/{token}/import/copy")
    def copy_labels() -> dict[str, Any]:
        names = json_body().get("names")
        if not isinstance(names, list):
            raise ValueError("expected names as a list")
        return {"copied": studio.imports.copy(studio.study(), list(map(str, names)))}

    @app.post(f"/{token}/import/clear")
    def clear_labels() -> dict[str, Any]:
        studio.study()
        studio.imports.clear()
        return {}

    @app.get(f"/{token}/classes")
    def show_classes() -> dict[str, Any]:
        return tables.read_classes(studio.study())

    @app.post(f"/{token}/classes")
    def save_classes() -> dict[str, Any]:
        tables.write_classes(studio.study(), json_body())
        return {}

    @app.get(f"/{token}/animals")
    def show_animals() -> dict[str, Any]:
        study = studio.study()
        return tables.read_animals(study, studio.recordings(study))

    @app.post(f"/{token}/animals")
    def save_animals() -> dict[str, Any]:
        tables.write_animals(studio.study(), json_body())
        return {}

    @app.post(f"/{token}/animals/parse")
    def parse_animals() -> dict[str, Any]:
        return tables.parse_animals(studio.study(), body_of_file())

    @app.post(f"/{token}/stimuli")
    def save_stimuli() -> dict[str, Any]:
        return {"num_stimuli": tables.write_stimuli(studio.study(), body_of_file())}


def _add_actions(app: Flask, token: str, studio: Studio) -> None:
    @app.post(f"/{token}/job")
    def add_job() -> dict[str, Any]:
        body = json_body()
        options = body.get("options", [])
        if not isinstance(options, list) or not all(isinstance(item, str) for item in options):
            raise ValueError("expected options as a list of texts")
        after = body.get("after")
        if after is not None and after not in [job.number for job in studio.jobs.all()]:
            raise ValueError(f"found no job {str(after)[:20]}")
        return {"number": studio.add(str(body.get("command")), options, after)}

    @app.post(f"/{token}/stop")
    def stop_job() -> dict[str, Any]:
        number = json_body().get("number")
        if number not in [job.number for job in studio.jobs.all()]:
            raise ValueError(f"found no job {str(number)[:20]}")
        studio.jobs.stop(number)
        return {}

    @app.post(f"/{token}/use")
    def use_run() -> dict[str, Any]:
        studio.use(str(json_body().get("run")))
        return {}

    @app.post(f"/{token}/option")
    def set_option() -> dict[str, Any]:
        body = json_body()
        studio.set_option(str(body.get("command")), str(body.get("name")), body.get("value"))
        return {}

    @app.post(f"/{token}/review")
    def open_review() -> dict[str, Any]:
        body = json_body()
        frame = body.get("frame", 0)
        if not isinstance(frame, int):
            raise ValueError("expected frame as a whole number")
        url = studio.review(
            name=str(body.get("name", "")),
            frame=frame,
            draws_regions=body.get("regions") is True,
            is_estimate=body.get("is_estimate") is True,
        )
        return {"url": url}


def _path(value: Any) -> Path:
    """Return a whole path that a page sent; ValueError for anything else."""
    path = Path(value) if isinstance(value, str) and "\0" not in value else Path()
    if not path.is_absolute():
        raise ValueError(f"found {str(value)[:80]!r}, expected a whole path of a folder")
    return path


def _paths(value: Any) -> list[Path]:
    if not isinstance(value, list):
        raise ValueError("expected a list of folders")
    return [_path(item) for item in value]
