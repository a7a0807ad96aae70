"""Cut and garbled videos: one result in every command and on every machine, and never silent."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from mpar.cache.notes import DecodingOptions, FrameRun, new_cache
from mpar.cache.staging import ViewWriter, count_frames, stage_video
from mpar.errors import InputError
from mpar.inference import ActionRecognitionInference
from mpar.video.endings import is_cut_short
from mpar.video.grey import Orientation
from mpar.video.videos import Decoding, probe_video
from tests.fixtures.helpers import make_checkpoint, read_frames
from tests.fixtures.synthetic import draw_frame_numbers, draw_recording

NUM_FRAMES = 48
KINDS = [
    ("libx264", "mp4", {"bf": "3", "g": "24", "movflags": "faststart"}),
    ("libx264", "mp4", {"bf": "3", "g": "12", "movflags": "frag_keyframe+empty_moov"}),
    ("libx264", "mkv", {"bf": "3", "g": "24"}),
    ("libx264", "flv", {"bf": "3", "g": "24"}),
    ("libx264", "ts", {"bf": "3", "g": "24"}),
    ("libx264", "avi", {"bf": "2"}),
    ("mpeg4", "avi", {"bf": "2"}),
    ("mpeg4", "mp4", {"movflags": "faststart"}),
    ("mpeg2video", "mpg", {"bf": "2"}),
    ("mpeg2video", "ts", {"bf": "2"}),
    ("mjpeg", "avi", {}),
    ("libvpx", "webm", {"b": "300k"}),
    ("wmv2", "wmv", {}),
]
KEYS_AT_24 = {"g": "24", "sc_threshold": "0"}
TOLD_BY_THE_CONTAINER = {"mp4", "mkv", "flv", "ts", "avi", "webm", "wmv"}


def encode(path, frames, codec, options, *, sound=False):
    """Write (T, H, W) frames at 30 per second, with as much silence if asked."""
    muxer = {k: v for k, v in options.items() if k == "movflags"}
    coder = {k: v for k, v in options.items() if k != "movflags"}
    with av.open(str(path), "w", options=muxer) as container:
        stream = container.add_stream(codec, rate=30, options=coder)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        audio = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for i, grey in enumerate(frames):
            planes = np.pad(grey, ((0, len(grey) // 2), (0, 0)), constant_values=128)
            frame = av.VideoFrame.from_ndarray(planes, format=stream.pix_fmt)
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio is not None:
            silence = np.zeros((1, 8000 * len(frames) // 30), np.float32)
            block = av.AudioFrame.from_ndarray(silence, "fltp", "mono")
            block.rate, block.pts, block.time_base = 8000, 0, Fraction(1, 8000)
            container.mux(audio.encode(block))
            container.mux(audio.encode())
    return path


def name_of(kind):
    return f"{kind[0]} {kind[1]} {'fragments' if 'frag' in str(kind[2]) else ''}".strip()


@pytest.fixture(scope="module")
def drawn():
    return draw_recording(seed=5, num_frames=NUM_FRAMES, height=64, width=96)[0]


def read(path, threads):
    """Return frames and warnings, or None and the refusal."""
    warnings = []
    try:
        return [*read_frames(path, threads=threads, warnings=warnings)], warnings
    except InputError as error:
        return None, str(error)


def spoil(data, seed):
    """Overwrite some bytes behind the header."""
    rng = np.random.default_rng(seed)
    spoilt = bytearray(data)
    for start in rng.integers(len(data) // 8, len(data) - 64, 1 + 2 * seed):
        spoilt[start : start + 24] = rng.bytes(24)
    return spoilt


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
@pytest.mark.parametrize("damage", ["cut", "garbled"])
def test_one_result_everywhere(drawn, tmp_path, kind, damage):
    """Frames, their number and the warnings do not depend on threads, nor on the command."""
    codec, suffix, options = kind
    whole = encode(tmp_path / f"whole.{suffix}", drawn, codec, options).read_bytes()
    network = ActionRecognitionInference(make_checkpoint(tmp_path / "net.pt"), "cpu")
    num_read = 0
    for k in range(3):
        path = tmp_path / f"bad{k}.{suffix}"
        cut = whole[: int(len(whole) * (0.35 + 0.25 * k))]
        path.write_bytes(cut if damage == "cut" else spoil(whole, k))
        frames, warnings = read(path, 1)
        for threads in (2, 16):
            others, same = read(path, threads)
            assert same == warnings
            if damage == "cut" and frames is not None:
                # decoders leave what they lack of the last picture as it lay in memory
                np.testing.assert_array_equal(others[:-1], frames[:-1])
        if frames is None:
            continue
        num_read += 1
        assert len(others) == len(frames)
        assert len(frames) == NUM_FRAMES or warnings
        how = {"threads": 2, "on_frames": lambda num_frames: None}
        staging = tmp_path / f"parts{k}"
        staging.mkdir()
        new_cache(staging).touch()
        writer = ViewWriter(new_cache(staging), [FrameRun(0, NUM_FRAMES, 0)])
        (staged,) = stage_video(path, "ab", staging, DecodingOptions(), [None], [writer], **how)
        (counted,) = count_frames(path, DecodingOptions(), **how)
        assert staged.line.num_frames == counted.line.num_frames == len(frames)
        assert [stretch.num_frames for stretch in staged.stretches] == [len(frames)]
        assert list(staged.warnings) == list(counted.warnings) == warnings
        prediction = network.predict(path)
        assert len(prediction.probabilities) == len(frames)
        assert [w for w in prediction.warnings if w in warnings] == warnings
    assert num_read


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_packets_tell_how_many_frames_there_will_be(drawn, tmp_path, kind):
    """The number is known before decoding, whatever the container; nobody need count."""
    codec, suffix, options = kind
    path = encode(tmp_path / f"v.{suffix}", drawn, codec, options)
    asked = []
    counted = probe_video(path, on_packets=lambda: asked.append(0))
    assert (counted.num_packets, counted.likely_counts[0]) == (NUM_FRAMES, NUM_FRAMES)
    plain = probe_video(path)
    assert (plain.num_packets, plain.width) == (0, counted.width)
    assert plain.likely_counts == []


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
@pytest.mark.parametrize("sound", [False, True])
def test_missing_end_is_told_and_a_whole_file_is_not_blamed(drawn, tmp_path, kind, sound):
    """Mpar notices a missing end wherever the container knows where it is."""
    codec, suffix, options = kind
    if sound and (suffix not in {"mp4", "mkv", "ts", "flv"} or "frag" in str(options)):
        pytest.skip("no sound of this kind here")
    path = encode(tmp_path / f"v.{suffix}", drawn, codec, options, sound=sound)
    assert read(path, 1)[1] == []
    assert len(read(path, 1)[0]) == NUM_FRAMES
    whole = path.read_bytes()
    for part in (0.3, 0.55, 0.8, 0.97):
        stop = int(len(whole) * part)
        path.write_bytes(whole[: stop + (stop % 188 == 0)])
        frames, warnings = read(path, 1)
        if frames is not None and suffix in TOLD_BY_THE_CONTAINER:
            assert any("cut short" in warning for warning in warnings), part


def test_ends_of_containers_by_hand(tmp_path):
    """What each container says of its end, at the last byte and one before."""
    page = b"OggS\0\4" + bytes(20) + b"\2\x05\x03" + b"12345678"
    tag = b"\t" + (4).to_bytes(3, "big") + bytes(7) + b"data"
    cases = {
        "ogg": b"OggS" + bytes(40) + page,
        "flv": b"FLV\1\1\0\0\0\t" + bytes(4) + tag + len(tag).to_bytes(4, "big"),
        "mpegts": (b"\x47" + bytes(187)) * 8,
        "matroska,webm": b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01"
        + bytes(6)
        + b"\x09"
        + bytes(9),
        "avi": b"RIFF\x10\0\0\0AVI " + bytes(12 - 8),
        "mov,mp4,m4a,3gp,3g2,mj2": b"\0\0\0\x08ftyp\0\0\0\x18mdat" + bytes(16),
    }
    for container, data in cases.items():
        (tmp_path / "v").write_bytes(data)
        assert not is_cut_short(tmp_path / "v", container), container
        (tmp_path / "v").write_bytes(data[: -9 if container == "avi" else -1])
        assert is_cut_short(tmp_path / "v", container), container
    live = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 7 + bytes(3)
    (tmp_path / "v").write_bytes(live)
    assert not is_cut_short(tmp_path / "v", "matroska,webm"), "size unknown"
    (tmp_path / "v").write_bytes(b"RIFF\0\0\0\0AVI ")
    assert is_cut_short(tmp_path / "v", "avi"), "the recorder died"


def test_gaps_of_other_streams_cost_no_frames(drawn, tmp_path):
    """The picture is whole where only the place of the sound lies beyond the end of the file."""
    path = encode(tmp_path / "v.mp4", drawn, "libx264", {}, sound=True)
    data = bytearray(path.read_bytes())
    start = data.rindex(b"stco") + 12
    num_chunks = int.from_bytes(data[start - 4 : start], "big")
    data[start : start + 4 * num_chunks] = (1 << 30).to_bytes(4, "big") * num_chunks
    path.write_bytes(data)
    with av.open(str(path)) as container:
        assert sum(packet.size > 0 for packet in container.demux(video=0)) < NUM_FRAMES
    frames, warnings = read(path, 1)
    assert (len(frames), warnings) == (NUM_FRAMES, [])


def test_frames_before_the_first_key_frame_are_told(tmp_path):
    """A stream that was tuned into lacks its beginning."""
    path = encode(tmp_path / "v.ts", draw_frame_numbers(48, 64, 96), "libx264", KEYS_AT_24)
    data = path.read_bytes()
    with av.open(str(path)) as container:
        starts = [packet.pos for packet in container.demux(video=0) if packet.size]
    path.write_bytes(data[: 188 * 3] + data[starts[12] :])
    frames, warnings = read(path, 1)
    assert len(frames) == 24
    assert warnings == [
        "shows its first picture after 0.433 s of sound or of frames that cannot be decoded; "
        "times in label files count from the start, as in players",
        "yields 24 frames of 36 packets: the others could not be decoded, as happens before the "
        "first key frame; check the alignment of its labels",
    ]


def test_bytes_that_look_like_another_stream_are_no_error(drawn, tmp_path):
    """A stream that turns up on the way is not read, and does not end in a traceback."""
    path = encode(tmp_path / "v.flv", drawn, "libx264", {})
    data = path.read_bytes()
    for kind in (8, 9, 18):
        tag = bytes([kind]) + (4).to_bytes(3, "big") + bytes(7) + b"\xaf\x01ab"
        path.write_bytes(data + (tag + (15).to_bytes(4, "big")) * 20)
        frames, _ = read(path, 1)
        assert frames is None or len(frames) >= NUM_FRAMES


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_titles_in_other_alphabets(drawn, tmp_path, suffix):
    """Metadata in Latin-1 or Shift-JIS is no reason to refuse a video."""
    path = tmp_path / f"v.{suffix}"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "MOUSEXX"
        stream = container.add_stream("mpeg4", rate=30)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for grey in drawn[:3]:
            planes = np.pad(grey, ((0, 32), (0, 0)), constant_values=128)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode())
    data = path.read_bytes()
    assert b"MOUSEXX" in data
    path.write_bytes(data.replace(b"MOUSEXX", b"M\xe4us\x83\xe9X"))
    assert (len(read(path, 1)[0]), probe_video(path).width) == (3, 96)


def test_interlaced_coding_is_no_damage(drawn, tmp_path):
    """Pictures coded by fields are whole, and progressive ones have no teeth."""
    options = {"flags": "+ilme+ildct", "bf": "2", "x264-params": "tff=1"}
    path = encode(tmp_path / "v.mp4", drawn, "libx264", options)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    for threads in (1, 16):
        frames, warnings = read(path, threads)
        assert (len(frames), warnings) == (NUM_FRAMES, [])


def test_edit_lists_are_no_loss(tmp_path):
    """Frames that the file hides on purpose are neither read nor missed."""
    path = encode(tmp_path / "v.mp4", draw_frame_numbers(48, 64, 96), "libx264", {"bf": "0"})
    data = bytearray(path.read_bytes())
    entry = data.index(b"elst") + 12  # duration, media time. Source: ISO/IEC 14496-12, 8.6.6
    with av.open(str(path)) as container:
        ticks = container.streams.video[0].time_base.denominator // 30
    data[entry : entry + 8] = (20 * 1000 // 30).to_bytes(4, "big") + (10 * ticks).to_bytes(4, "big")
    path.write_bytes(data)
    decoding = Decoding(path)
    frames = list(decoding)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 48, "by the header"
    assert 15 < len(frames) < 25
    assert decoding.warnings == ()


def test_frames_are_not_kept(drawn, tmp_path, monkeypatch):
    """Side data that PyAV ties to a frame is asked for once an orientation, not once a frame."""
    path = encode(tmp_path / "v.mp4", drawn, "libx264", {})
    asked = []
    original = Orientation.of.__func__
    count = classmethod(lambda cls, frame: asked.append(1) or original(cls, frame))
    monkeypatch.setattr(Orientation, "of", count)
    assert len(read(path, 1)[0]) == NUM_FRAMES
    assert len(asked) == 2, "once for the size, once for all frames"
