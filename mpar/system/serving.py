"""Serve a page to this computer only, and only to those who have its link."""

from __future__ import annotations

import errno
import hmac
import importlib.util
import logging
import secrets
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpar.errors import ConfigError, InputError
from mpar.system.faults import LOG_NAME, logged, unexpected
from mpar.system.files import parse_json

if TYPE_CHECKING:
    from flask import Flask, Response

HOST = "127.0.0.1"
MAX_BODY_BYTES = 1 << 20
_NUM_THREADS = 8
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def check_packages(command: str) -> None:
    """Raise ConfigError if the packages that serve pages are not installed."""
    missing = [name for name in ("flask", "waitress") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{command}: {' and '.join(missing)} not installed; pip install mpar[review]"
        )


def closed_app(name: str, token: str, port: int, page: Path, log_folder: Path) -> Flask:
    """Return an application that serves the files of a page, and no one else's requests.

    `token` is the first part of every path; requests without it, and to another host or port, are
    refused. Errors become ``{"error": text}``; tracebacks go to a log in `log_folder`.
    """
    from flask import Flask, abort, request
    from werkzeug.exceptions import HTTPException

    app = Flask(name, static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    hosts = {f"{HOST}:{port}", f"localhost:{port}"}
    files = {path.name: path.read_bytes() for path in page.iterdir() if path.suffix in _TYPES}

    @app.before_request
    def check_link() -> None:
        given = request.path.split("/", 2)[1].encode("utf-8", "replace")
        if request.host not in hosts or not hmac.compare_digest(given, token.encode()):
            abort(403)

    @app.after_request
    def add_headers(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.errorhandler(InputError)
    def show_problem(error: InputError) -> tuple[dict[str, str], int]:
        return {"error": str(logged(error.problems, log_folder / LOG_NAME)[0])}, 422

    @app.errorhandler(OSError)
    def show_disk(error: OSError) -> tuple[dict[str, str], int]:
        return {"error": f"not saved: {error.filename or ''} {error.strerror or error}"}, 507

    @app.errorhandler(ValueError)
    def show_bad(error: ValueError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 400

    @app.errorhandler(Exception)
    def show_failure(error: Exception) -> Any:
        if isinstance(error, HTTPException):
            return error
        where = request.args.get("name", "the page")
        (problem,) = logged(unexpected(where, error).problems, log_folder / LOG_NAME)
        return {"error": str(problem)}, 500

    @app.get(f"/{token}/")
    def show_page() -> tuple[bytes, dict[str, str]]:
        return send("index.html")

    @app.get(f"/{token}/page/<name>")
    def send(name: str) -> tuple[bytes, dict[str, str]]:
        if name not in files:
            abort(404)
        return files[name], {"Content-Type": f"{_TYPES[Path(name).suffix]}; charset=utf-8"}

    return app


def json_body() -> dict[str, Any]:
    """Return the JSON object that a request holds; ValueError if it holds none."""
    from flask import request

    try:
        data = parse_json(request.get_data(cache=False))
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise ValueError("expected a JSON object")
    return data


def listen(port: int) -> socket.socket:
    """Return a socket on this computer; port 0 takes any that is free. ConfigError if it cannot."""
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


class PageServer:
    """A page that is ready to be served.

    Parameters
    ----------
    make_app : callable
        Returns the application for a token and a port.
    listener : socket.socket
        Where to listen.
    max_body_bytes : int
        Longer requests are refused before the application sees them.

    Attributes
    ----------
    url : str
        The secret link.
    """

    def __init__(
        self,
        make_app: Callable[[str, int], Flask],
        listener: socket.socket,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        from waitress import create_server

        # a request that waits for a thread is no news for a scorer
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(24)
        self.url = f"http://{HOST}:{port}/{token}/"
        self._server: Any = create_server(
            make_app(token, port),
            sockets=[listener],
            threads=_NUM_THREADS,
            max_request_body_size=max_body_bytes,
            ident="",
        )

    def serve(self) -> None:
        """Answer requests until the process is interrupted."""
        self._server.run()

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
