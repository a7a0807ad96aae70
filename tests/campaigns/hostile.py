"""Files made to do harm, and names that are hard to bear: campaigns 11 and 12."""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from mpar.cache.layout import hash_bytes
from mpar.cache.store import Store
from mpar.cache.writer import write_store
from mpar.errors import InputError, MparError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.video.videos import probe_video
from tests.campaigns.cases import Plant, Verdict, judged, nothing, write_bytes
from tests.campaigns.damage import make_run_folder, small_recordings
from tests.fixtures.helpers import read_frames
from tests.unit.cache.test_damaged_cache import PLANTS, change_index, replace_index
from tests.unit.video.reading import make_video
from tests.unit.video.test_odd_videos import PLAYLISTS

MAX_MEMORY_MIB = 1024
MAX_MESSAGE = 1200

# --- campaign 11


class _Writes:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> tuple:
        return open, (self._path, "w")


def hostile_checkpoints(folder: Path) -> Iterator[Path]:
    """Make checkpoints whose checksums fit."""
    import torch

    sound = make_run_folder(folder / "run") / "sound.pt"
    content = torch.load(sound, weights_only=True)
    buffer = io.BytesIO()
    torch.save({"format": _Writes(folder / "canary")}, buffer)
    yield write_bytes(folder / "pickle.pt", buffer.getvalue())
    buffer = io.BytesIO()
    torch.save({**content, "state": {"zeros": torch.zeros(1 << 28)}}, buffer)
    deflated = io.BytesIO()
    with (
        zipfile.ZipFile(buffer) as source,
        zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    yield write_bytes(folder / "bomb.pt", deflated.getvalue())
    for name, changes in {
        "classes.pt": {"model_config": {**content["model_config"], "num_classes": 1 << 40}},
        "length.pt": {"model_config": {**content["model_config"], "clip_length": 1 << 40}},
        "weights.pt": {"weights": {"x": torch.zeros(1).expand(1 << 40)}},
        "map.pt": {"class_map": {"rows": "x"}},
        "text.pt": {"weights": "x" * 100},
    }.items():
        buffer = io.BytesIO()
        torch.save({**content, **changes}, buffer)
        yield write_bytes(folder / name, buffer.getvalue())
    (folder / "bare.pt").write_bytes(b"cos\nsystem\n(S'touch canary'\ntR.")
    yield folder / "bare.pt"


def hostile_caches(folder: Path) -> Iterator[Path]:
    """Make caches that lead elsewhere, declare too much, or have names that leave the folder."""
    sound = folder / "sound.h5"
    write_store(sound, small_recordings(), class_map=DEFAULT_CLASS_MAP, config={})
    for name, plant in PLANTS.items():
        path = Path(shutil.copy(sound, folder / f"{name.replace(' ', '_')}.h5"))
        with h5py.File(path, "r+") as file:
            data = file["index"][:]
            del file["index"]
            plant(file, data, folder)
        yield path
    path = Path(shutil.copy(sound, folder / "huge_index.h5"))
    with h5py.File(path, "r+") as file:
        del file["index"]
        file.create_dataset("index", (1 << 40,), np.uint8)
    yield path
    path = Path(shutil.copy(sound, folder / "bomb.h5"))
    with h5py.File(path, "r+") as file:
        del file["index"]
        data = np.zeros(1 << 27, np.uint8)
        file.create_dataset("index", data=data, compression="gzip", chunks=(1 << 20,))
        file.attrs["index_hash"] = np.uint64(hash_bytes(data))
    yield path
    for key, value in {
        "num_frames": 1 << 50,
        "frames_offset": 1 << 62,
        "frame_size": [1 << 31, 1 << 31],
        "name": "../../canary",
        "fps": "1/0",
    }.items():
        changed = change_index(folder, sound, key, value)
        yield changed.rename(folder / f"{key}.h5")
    deep = ("[" * 100_000 + "]" * 100_000).encode()
    yield replace_index(folder, sound, lambda index: deep).rename(folder / "deep.h5")


def hostile_videos(folder: Path, port: int) -> Iterator[Path]:
    """Make playlists that call themselves videos, and videos that claim to be huge."""
    secret = make_video(folder / "secret.ts")
    for kind, text in PLAYLISTS.items():
        for name in (secret.name, str(secret), f"http://127.0.0.1:{port}/secret.ts"):
            for suffix in ("mp4", "avi", "mkv", "ts"):
                path = folder / f"{kind}_{len(name)}.{suffix}"
                path.write_text(text.format(name=name))
                yield path
    data = make_video(folder / "sound.avi", codec="mjpeg", pix_fmt="yuvj420p").read_bytes()
    # start of frame: marker, length, precision, height, width
    huge = re.sub(rb"(\xff\xc0...)....", rb"\g<1>" + b"\xff" * 4, data, flags=re.DOTALL)
    (folder / "huge.avi").write_bytes(huge)
    yield folder / "huge.avi"
    (folder / "sound.avi").unlink()
    yield Path(f"http://127.0.0.1:{port}/v.mp4")
    yield Path(f"concat:{secret}")


def judge_hostile(case: tuple[Path, Path]) -> str:
    """Use a file as the commands do, and look what it cost."""
    path, folder = case
    before = _peak_memory_mib()
    try:
        if path.suffix == ".pt":
            from mpar.network.checkpoint import load_checkpoint

            load_checkpoint(path).build_net()
        elif path.suffix == ".h5":
            _predict_cache(path, folder)
        else:
            probe_video(path)
            for _ in read_frames(path):
                pass
        bad = "was taken"
    except MparError as error:
        is_short = "\n" not in str(error) and len(str(error)) < MAX_MESSAGE
        bad = "" if is_short else f"took more than a line to refuse: {error}"
    if (folder / "canary").exists() or list(folder.parent.glob("canary*")):
        return "the canary file was made"
    used = _peak_memory_mib() - before
    return bad or (f"took {used:.0f} MiB" if used > MAX_MEMORY_MIB else "")


def _predict_cache(path: Path, folder: Path) -> None:
    """Write what `mpar-predict` would, under the names that the cache gives."""
    from mpar.predictions.writing import output_paths

    with Store(path) as store:
        for i, info in enumerate(store.recordings):
            store.frames(i), store.labels(i), store.codes(i)
            for written in output_paths(folder / "predictions", info.name).values():
                if written.resolve().parent != (folder / "predictions").resolve():
                    raise AssertionError(f"would write {written}")


def _peak_memory_mib() -> float:
    import resource

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20


def meet_hostile_files(
    seed: int, size: int, folder: Path, plant: Plant = nothing
) -> Iterator[Verdict]:
    """Campaign 11: each is refused in one line, with no effect, in little memory."""
    connections: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def accept() -> None:
            try:
                while True:
                    connections.append(server.accept()[0].close())
            except OSError:
                pass  # closed

        threading.Thread(target=accept, daemon=True).start()
        work = folder / "work"
        work.mkdir()

        def cases() -> Iterator[tuple[str, tuple]]:
            makers: tuple[Callable[[], Iterator[Path]], ...] = (
                lambda: hostile_caches(work),
                lambda: hostile_videos(work, port),
                lambda: hostile_checkpoints(work),
            )
            for make in makers if not size else makers[:2]:
                for path in make():
                    yield path.name, (path, work)

        yield from judged(judge_hostile, cases(), plant=plant)
        yield Verdict("server on loopback", f"{len(connections)} connections" * bool(connections))


def without_lists_of_what_is_allowed() -> None:
    """Let videos be of any kind and point anywhere."""
    from mpar.video import streams

    streams._OPEN_OPTIONS = {"protocol_whitelist": "file,http,tcp,concat,crypto,data"}


# --- campaign 12

NAMES = {
    "blanks": "my mouse 1",
    "blanks at the ends": " mouse ",
    "emoji": "🐭_1",
    "composed": "m\u00e9lanie",
    "decomposed": "me\u0301lanie",
    "newline": "mouse\n1",
    "carriage return": "mouse\r1",
    "tab": "mouse\t1",
    "quote": 'mouse"1',
    "comma": "mouse,1",
    "percent": "mouse%d%s_1",
    "backslash": "mouse\\1",
    "leading dash": "-mouse",
    "double dash": "--help",
    "formula": "=1+1",
    "at": "@mouse",
    "control": "mouse\x1b[2J",
    "right to left": "mouse\u202e1",
    "longest": "m" * 251,
    "longest, wide": "ü" * 125,
    "not UTF-8": os.fsdecode(b"mouse\xff\xfe"),
    "dots": "mouse..1",
    "hidden": ".mouse",
    "glob": "mouse[1]*?",
    "braces": "{mouse}",
    "protocol": "file:mouse",
    "brackets": "<mouse>",
}


def judge_name(case: tuple[Path, str, str]) -> str:
    """Preprocess a video of this name beside a plain one, and read the cache back."""
    from mpar.preprocess import PreprocessConfig, preprocess

    folder, _, name = case
    study = folder / "study"
    shutil.rmtree(study, ignore_errors=True)
    for kind in ("Videos", "Annotations"):
        (study / kind).mkdir(parents=True)
    pairs = [(name, "odd"), ("plain", "plain")]
    try:
        for stem, source in pairs:
            shutil.copy(folder / f"{source}.mp4", study / "Videos" / f"{stem}.mp4")
            shutil.copy(folder / f"{source}.csv", study / "Annotations" / f"{stem}.csv")
    except (OSError, ValueError) as error:
        return "" if "long" in str(error) else f"cannot be made here: {error}"
    cache = study / "cache.h5"
    report = preprocess(
        study / "Videos", study / "Annotations", cache, config=PreprocessConfig(size=(32, 32))
    )
    names = {info.name for info in report.recordings}
    if "plain" not in names:
        return f"the other video is gone: {report.problems}"
    told = any(problem.path or problem.message for problem in report.problems)
    if name not in names and not told and not name.startswith("."):
        return f"left out with no word: {names}"
    with Store(cache) as store:
        if {info.name for info in store.recordings} != names or store.verify():
            return "the cache has other names"
    return _predict_name(study, name)


def _predict_name(study: Path, name: str) -> str:
    """Write and read predictions of the video, as far as that needs no network."""
    from mpar.inference import find_inputs

    sources, problems = find_inputs([study / "Videos" / f"{name}.mp4"])
    try:
        frames = sum(1 for source in sources for _ in read_frames(source.path))
    except InputError as error:
        return "" if len(error.problems) == 1 else f"refused oddly: {error}"
    return "" if frames == 12 or problems else f"{frames} frames"


def bear_names(seed: int, size: int, folder: Path, plant: Plant = nothing) -> Iterator[Verdict]:
    """Campaign 12: every name works, or is refused by name."""
    from tests.fixtures.synthetic import write_annotation

    for stem in ("odd", "plain"):
        make_video(folder / f"{stem}.mp4", num_frames=12 if stem == "odd" else 14)
        write_annotation(folder / f"{stem}.csv", np.zeros(12 if stem == "odd" else 14, int))
    cases = [(what, (folder, what, name)) for what, name in NAMES.items()]
    if size:
        cases = cases[:: -(-len(cases) // size)]
    yield from judged(judge_name, cases, plant=plant)


def without_escaping() -> None:
    """Take names for UTF-8."""
    from mpar import errors
    from mpar.cache import store

    np_char_encode = np.char.encode
    errors._printable = lambda text: text.encode("utf-8").decode()
    store.np.char.encode = lambda array, *_: np_char_encode(array, "utf-8", "strict")
