"""Ask the application of the page without a server."""

from __future__ import annotations

import json

import numpy as np

from mpar.formats.annotations import read_annotation
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.predictions.postprocess import PostConfig
from mpar.predictions.writing import OutputConfig, write_prediction
from mpar.reviewer.server import make_app
from tests.fixtures.helpers import recording_of

NUM_FRAMES = 60


PORT = 5000


LICK = DEFAULT_CLASS_MAP.code_of_class("paw_lick")


WALK = DEFAULT_CLASS_MAP.code_of_class("walk")


class Asker:
    """Asks the application without a network."""

    def __init__(self, study):
        app = make_app(study, "token", PORT, ("#000000",) * 12)
        self.study, self.client = study, app.test_client()

    def get(self, path, token="token", host=f"127.0.0.1:{PORT}", **values):
        """Ask for something."""
        return self.client.get(
            f"/{token}/{path}", query_string=values or None, base_url=f"http://{host}"
        )

    def post(self, path, body, **values):
        """Send something."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(
            f"/token/{path}", query_string=values, data=data, base_url=f"http://127.0.0.1:{PORT}"
        )

    def state(self, name="m1"):
        """Return the state of a recording once its frames are counted."""
        frames = self.study.frames_of(name)
        frames.join()
        return self.get("recording", name=name).json

    def edit(self, kind, name="m1", **values):
        """Edit the newest revision."""
        revision = self.state(name)["revision"]
        return self.post("edit", {"kind": kind, "revision": revision, **values}, name=name)


def put_predictions(folder, labels, name="m1", squares=None):
    """Write a prediction that is 80 % sure."""
    probabilities = np.full((len(labels), 6), 0.04, np.float32)
    probabilities[np.arange(len(labels)), labels] = 0.8
    prediction = recording_of(name=name, probabilities=probabilities, squares=squares)
    provenance = {"checkpoint": "best.pt", "checkpoint_sha256": "ab12"}
    folder.mkdir(exist_ok=True)
    write_prediction(
        folder, prediction, DEFAULT_CLASS_MAP, OutputConfig(), PostConfig(), provenance
    )
    return folder


def codes_of(folder, name="m1_anna"):
    return read_annotation(folder / f"{name}.csv", DEFAULT_CLASS_MAP).codes.tolist()
