"""What the tests of this folder share."""

from __future__ import annotations

import json
import shutil

import pytest
from mpar_cli._commands import Commands

from tests.unit.studio.test_study import put_study

PORT, TOKEN = 4321, "secret"


@pytest.fixture
def small(study, tmp_path):
    """A small study with its own copies of six videos and their labels."""
    folder = put_study(tmp_path / "Study", options={"preprocess": {"size": 32}})
    shutil.copytree(study.videos, folder / "Videos")
    shutil.copytree(study.annotations, folder / "Annotations")
    return folder


class Asker:
    """Asks the application without a server; jobs wait, since nothing starts them."""

    def __init__(self, folder):
        from mpar.studio.routes import make_app
        from mpar.studio.window import Studio

        self.folder, self.studio = folder, Studio(Commands(), folder)
        self.client = make_app(self.studio, TOKEN, PORT).test_client()

    def __call__(self, path, body=None, token=TOKEN, host=f"127.0.0.1:{PORT}"):
        """Get a path, or post a body: bytes as they are, all else as JSON."""
        options = {"base_url": f"http://{host}", "buffered": True}
        if body is None:
            return self.client.get(f"/{token}/{path}", **options)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(f"/{token}/{path}", data=data, **options)


@pytest.fixture
def opened():
    """Return a function that opens a study, or none, and asks the application."""
    pytest.importorskip("flask", reason="mpar[review] is not installed")
    askers = []

    def open_one(folder=None):
        askers.append(Asker(folder))
        return askers[-1]

    yield open_one
    for asker in askers:
        asker.studio.close()
