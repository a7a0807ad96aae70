"""The server of the page: on this computer only, and only for those who have the link."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpar.errors import InputError
from mpar.labels.classes import UNLABELLED
from mpar.reviewer.desk import Desk, StaleError
from mpar.reviewer.study import Study
from mpar.reviewer.worklist import plain
from mpar.system.serving import closed_app, json_body
from mpar.video.regions import Region

if TYPE_CHECKING:
    from flask import Flask

_MAX_CHUNK = 512  # frames a request
_WAIT_SECONDS = 2.0
_LANES_SECONDS = 0.1  # to wait for what a recording is compared with, before it is shown
_PAGE = Path(__file__).parent / "page"


def make_app(study: Study, token: str, port: int, colors: tuple[str, ...]) -> Flask:
    """Return the application.

    `token` is the first part of every path; requests without it, and to another host or port, are
    refused.
    """
    app = closed_app("mpar-review", token, port, _PAGE, study.output_folder)

    @app.errorhandler(StaleError)
    def show_stale(error: StaleError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 409

    _add_reading(app, token, study, colors)
    _add_data(app, token, study)
    _add_writing(app, token, study)
    _add_stretches(app, token, study)
    return app


def _add_reading(app: Flask, token: str, study: Study, colors: tuple[str, ...]) -> None:
    @app.get(f"/{token}/study")
    def show_study() -> dict[str, Any]:
        class_map = study.class_map
        return {
            "annotator": study.annotator,
            "is_blind": study.is_blind,
            "has_queue": study.queue is not None,
            "is_estimate": study.checking is not None,
            "classes": [
                {"name": name, "color": colors[k], "code": class_map.code_of_class(name)}
                for k, name in enumerate(class_map.class_names)
            ],
            "class_of": {code: class_map.class_index_of(code) for code in class_map.codes},
            "names": {code: class_map.name_of(code) for code in class_map.codes},
            "recordings": [
                {"name": name, "has_prediction": study.has_prediction(name)}
                for name in study.recordings
            ],
            "warnings": study.warnings,
            "has_tracks": study.has_tracks,
        }

    @app.get(f"/{token}/recording")
    def show_recording() -> dict[str, Any]:
        name = _name(study)
        frames = study.frames_of(name)
        frames.wait(_WAIT_SECONDS)
        recording = study.recordings[name]
        regions = [r for r in study.regions_of(recording.video) if r.track is None]
        about = _progress(study, name) | {
            "video": recording.video.name,
            "fps": float(frames.info.fps),
            "height": frames.info.height,
            "width": frames.info.width,
            "region": _region(recording.region) if recording.region in regions else None,
            "regions": [_region(region) for region in regions],
            "squares": None,
        }
        if frames.num_frames is None or frames.error is not None:
            return about
        lanes = study.lanes_of(name)
        is_read = lanes.is_ready(_LANES_SECONDS)
        if path := study.squares_of(name):
            about["squares"] = {"side": path.side, "moves": path.moves()}
        state = study.desk_of(name).state(with_prediction=is_read)
        others, problems = lanes.result() if is_read else ({}, [])
        problems = [*problems, *filter(None, [state["prediction_problem"]])]
        more = {"others": others, "problems": problems, "is_reading": not is_read}
        return about | state | more

    @app.get(f"/{token}/progress")
    def show_progress() -> dict[str, Any]:
        name = _name(study)
        found = _progress(study, name)
        if found["num_frames"] is not None and not found["error"]:
            found["revision"] = study.desk_of(name).lane.revision
            found["is_reading"] = not study.lanes_of(name).is_ready()
        return found


def _add_data(app: Flask, token: str, study: Study) -> None:
    from flask import abort, request

    @app.get(f"/{token}/times")
    def show_times() -> tuple[bytes, dict[str, str]]:
        starts = study.frames_of(_name(study)).line.starts
        return starts.astype("<f8").tobytes(), {"Content-Type": "application/octet-stream"}

    @app.get(f"/{token}/probability")
    def show_probability() -> tuple[bytes, dict[str, str]]:
        predicted = study.desk_of(_name(study)).predicted
        k = request.args.get("class", -1, int)
        if predicted is None or not 0 <= k < predicted.probabilities.shape[1]:
            abort(404)
        data = predicted.probabilities[:, k].tobytes()
        return data, {"Content-Type": "application/octet-stream"}

    @app.get(f"/{token}/frames")
    def show_frames() -> tuple[bytes, dict[str, str]]:
        """Send frames one after another: number and length as little-endian uint32, then JPEG.

        Those below X-Proven are certain; others may look different once they are. With "small",
        it sends at once the nearest small picture at or before the first frame, if there is one.
        """
        frames = study.frames_of(_name(study))
        frames.wait(_WAIT_SECONDS)
        start, stop, step = (
            request.args.get(name, default, int)
            for name, default in (("start", 0), ("stop", 1), ("step", 1))
        )
        if start < 0 or step < 1:
            abort(400)
        stop = min(stop, start + _MAX_CHUNK * step)
        num_proven = frames.num_counted
        if request.args.get("small") == "1":
            found = [small] if (small := frames.small(start)) else []
        else:
            is_urgent = request.args.get("urgent") == "1"
            found = frames.encoded(start, stop, step, is_urgent=is_urgent)
        body = b"".join(struct.pack("<II", i, len(data)) + data for i, data in found)
        return body, {
            "Content-Type": "application/octet-stream",
            "X-Generation": str(frames.generation),
            "X-Proven": str(num_proven),
        }


def _add_writing(app: Flask, token: str, study: Study) -> None:
    @app.post(f"/{token}/edit")
    def edit() -> dict[str, Any]:
        name = _name(study)
        body = json_body()
        desk, frames = study.desk_of(name), study.frames_of(name)
        values = {
            key: _whole(body[key])
            for key in ("start", "stop", "like", "code")
            if body.get(key) is not None
        }
        code = values.get("code", UNLABELLED)
        if code != UNLABELLED and code not in study.class_map.codes:
            raise ValueError(f"code {code} is not in the class map")
        if values.get("stop", 0) > frames.num_certain:
            raise InputError.of(
                frames.path.name,
                "not-counted",
                f"mpar has counted {frames.num_certain} frames so far; wait to score later ones",
            )
        desk.edit(
            str(body.get("kind")),
            _whole(body.get("revision")),
            **values,
            group=str(body.get("group", ""))[:40],
            seen=_spans(body.get("seen", [])),
        )
        return desk.own_state()

    @app.post(f"/{token}/seen")
    def note_seen() -> dict[str, Any]:
        desk: Desk = study.desk_of(_name(study))
        desk.note_seen(_spans(json_body().get("seen", [])))
        return {}

    @app.post(f"/{token}/regions")
    def save_regions() -> dict[str, Any]:
        recording = study.recordings[_name(study)]
        regions = []
        for item in _list(json_body().get("regions")):
            numbers = [_whole(item.get(key)) for key in ("x", "y", "width", "height")]
            x, y, width, height = numbers
            region = Region(str(item.get("animal", "")).strip(), x, y, width, height)
            info = study.frames_of(recording.name).info
            if not region.is_inside(info.height, info.width):
                raise ValueError(f"region {region} extends beyond the picture")
            regions.append(region)
        study.save_regions(recording.video, regions)
        names = [r.name for r in study.recordings.values() if r.video == recording.video]
        return {"recordings": names, "path": study.regions_path.name}


def _add_stretches(app: Flask, token: str, study: Study) -> None:
    from flask import abort, request

    @app.get(f"/{token}/queue")
    def show_queue() -> dict[str, Any]:
        if study.queue is None:
            abort(404)
        if not study.queue.is_ready(_WAIT_SECONDS):
            return {"is_ready": False}
        found = study.queue.stretches(study.reviewed())
        return {
            "is_ready": True,
            "problem": study.queue.problem,
            "stretches": [plain(stretch) for stretch in found],
        }

    @app.get(f"/{token}/check")
    def show_check() -> dict[str, Any]:
        if study.checking is None:
            abort(404)
        return study.checking.state(request.args.get("place", None, int))

    @app.post(f"/{token}/check")
    def record_check() -> dict[str, Any]:
        if study.checking is None:
            abort(404)
        body = json_body()
        place = _whole(body.get("place"))
        stretch = study.checking.stretch_at(place)
        codes = study.desk_of(stretch.recording).codes_of(stretch.start, stretch.stop)
        gaps = study.checking.record(stretch, codes, allows_gaps=body.get("allows_gaps") is True)
        return {"num_gaps": gaps} if gaps else study.checking.state(place + 1)


def _name(study: Study) -> str:
    from flask import abort, request

    name = request.args.get("name", "")
    if name not in study.recordings:
        abort(404)
    return name


def _progress(study: Study, name: str) -> dict[str, Any]:
    frames = study.frames_of(name)
    return {
        "name": name,
        "num_frames": frames.num_frames,
        "num_counted": frames.num_counted,
        "num_certain": frames.num_certain,
        "hint": frames.info.num_frames_hint,
        "generation": frames.generation,
        "is_steady": frames.line.times is None,
        "error": str(frames.error.problems[0]) if frames.error else "",
    }


def _region(region: Region) -> dict[str, Any]:
    return {name: getattr(region, name) for name in ("animal", "x", "y", "width", "height")}


def _whole(value: Any) -> int:
    is_whole = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_whole or not math.isfinite(value) or value != int(value):
        raise ValueError(f"found {str(value)[:40]!r}, expected a whole number")
    return int(value)


def _list(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("expected a list of objects")
    return value


def _spans(value: Any) -> list[tuple[int, int]]:
    if not isinstance(value, list) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in value
    ):
        raise ValueError("expected a list of pairs of frames")
    return [(_whole(a), _whole(b)) for a, b in value]
