"""Sound, several streams, odd shapes, cut and damaged files, and what is no video."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from mpar.errors import InputError
from mpar.video.videos import MIN_SIDE_PX, Decoding, VideoInfo, probe_video, squeeze_of
from tests.fixtures.helpers import drop_timing, raises_problem, read_frames, write_two_streams
from tests.fixtures.synthetic import (
    draw_frame_numbers,
    draw_recording,
    read_frame_number,
    write_video,
)
from tests.unit.video.reading import CONTAINERS, make_video, numbers, read


def read_or_refuse(path, **options):
    """Return the frames and the warnings, or None twice where the file is refused by name."""
    try:
        return read(path, **options)
    except InputError as error:
        if not str(error).startswith(f"{path.name}: "):
            raise
        return None, None


def refusal(path):
    """Return the message that both functions refuse a file with."""
    with pytest.raises(InputError) as of_frames:
        read(path)
    with pytest.raises(InputError) as of_probe:
        probe_video(path)
    assert str(of_frames.value) == str(of_probe.value)
    (problem,) = of_frames.value.problems
    assert (problem.path, problem.line) == (path.name, 0)
    assert ";" in problem.message, "says what to do"
    return problem.message


def write_with_sound(path, codec, *, sound_start, num_sounds):
    """Write 30 frames, and silence in pieces of 1/30 s from a sample of 1/48000 s on."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=30)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        sound = container.add_stream(codec, rate=48000)
        pictures = draw_frame_numbers(30)
        for i in range(max(30, num_sounds)):
            if i < 30:
                grey = np.pad(pictures[i], ((0, 32), (0, 0)))
                frame = av.VideoFrame.from_ndarray(grey, format="yuv420p")
                frame.pts, frame.time_base = i, Fraction(1, 30)
                container.mux(picture.encode(frame))
            if i < num_sounds:
                quiet = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.float32), "fltp", "mono")
                quiet.pts, quiet.sample_rate = 1600 * i + sound_start, 48000
                quiet.time_base = Fraction(1, 48000)
                container.mux(sound.encode(quiet))
        container.mux(picture.encode())
        container.mux(sound.encode())


@pytest.mark.parametrize(("suffix", "codec"), [("avi", "libmp3lame"), ("mkv", "aac")])
def test_sound_that_codecs_delay(tmp_path, suffix, codec):
    """Players show frame i at i / 30 s, though B-frames or the sound seem to delay it."""
    path = tmp_path / f"v.{suffix}"
    write_with_sound(path, codec, sound_start=-1024, num_sounds=30)
    decoding = Decoding(path)
    assert [read_frame_number(frame) for frame in decoding] == [*range(30)]
    line = decoding.line
    assert [
        line.frame_of(Fraction(round(i / 30, 3)).limit_denominator(1000)) for i in range(30)
    ] == [*range(30)]
    assert line.lead_seconds == 0


def test_rate_of_a_bare_stream_is_a_guess(tmp_path):
    """Without timing in the pictures 25 is only what players take; with it, it is stated."""
    for fps in (25, 30, 50):
        path = make_video(tmp_path / "stated.h264", fps=fps)
        info = probe_video(path)
        assert (info.fps, info.is_rate_guessed) == (fps, False)
    options = {"x264-params": "force-cfr=1:bframes=0"}
    make_video(tmp_path / "v.h264", options=options)
    data = drop_timing((tmp_path / "v.h264").read_bytes())
    (tmp_path / "v.h264").write_bytes(data)
    info = probe_video(tmp_path / "v.h264")
    assert (info.fps, info.is_rate_guessed) == (25, True)
    decoding = Decoding(tmp_path / "v.h264")
    assert [read_frame_number(frame) for frame in decoding] == [*range(20)]
    assert (decoding.line.fps, decoding.line.times) == (25, None)
    (warning,) = decoding.warnings
    assert warning.startswith("states no frame rate, so 25 frames per second is a guess; ")


@pytest.mark.parametrize(
    ("sizes", "default", "chosen"),
    [
        ([(64, 64), (96, 96)], 1, 1),
        ([(64, 64), (96, 96)], 0, 0),
        ([(64, 64), (96, 96)], None, 1),
        ([(64, 64), (64, 64)], None, 0),
    ],
)
def test_several_streams(tmp_path, sizes, default, chosen):
    """The default one is read, else the largest; all are named, and any can be asked for."""
    path = write_two_streams(tmp_path / "v.mkv", sizes, default)
    frames, warnings = read(path)
    assert [read_frame_number(frame) for frame in frames] == [20 * chosen + i for i in range(6)]
    assert probe_video(path).height == sizes[chosen][0]
    (warning,) = warnings
    assert f"mpar reads stream {chosen}; pass --stream N to read another" in warning
    for number, (height, width) in enumerate(sizes):
        mark = ", default" if number == default else ""
        told = f"stream {number}: {width}x{height} px, 30 frames per second{mark}"
        assert told in warning
        frames, warnings = read(path, stream=number)
        assert read_frame_number(frames[5]) == 20 * number + 5
        assert (probe_video(path, stream=number).width, warnings) == (width, [])
    with raises_problem("no-stream"):
        read(path, stream=2)


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ((480, 640), (48, 64), ""),
        ((64, 66), (32, 32), ""),
        ((480, 640), (64, 64), "1.33 times too tall; pass --size 48x64 "),
        ((640, 480), (64, 64), "1.33 times too wide; pass --size 64x48 "),
    ],
)
def test_squeezed_shapes(source, target, told):
    """By hand: 4:3 pictures in a square; 3 % are no matter."""
    found = squeeze_of(source, target)
    assert told in found
    assert bool(found) == bool(told)


def test_files_of_other_kinds_are_named_as_such(tmp_path):
    """A video in a container that mpar does not read is not called damaged."""
    (tmp_path / "v.avi").write_bytes(b"DKIF\0\0\x20\0VP80" + bytes(40))
    assert "mpar does not read this kind of file" in refusal(tmp_path / "v.avi")
    (tmp_path / "v.avi").write_bytes(b"")
    assert "ends before its first picture" in refusal(tmp_path / "v.avi")


def test_header_is_a_hint_only(tmp_path):
    """The header says how many frames to expect; a plain stream says nothing."""
    for suffix, hint in [("mp4", 20), ("avi", 20), ("mkv", 20), ("h264", 0)]:
        info = probe_video(make_video(tmp_path / f"v.{suffix}"))
        assert info.num_frames_hint == hint
        assert info.codec == "h264"
    assert probe_video(tmp_path / "v.mkv").container == "matroska,webm"


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_truncated_file_that_can_be_read_in_part(tmp_path, suffix):
    """A file cut in the middle gives the frames before the cut and a warning."""
    path = make_video(tmp_path / f"v.{suffix}", num_frames=40, codec="mjpeg")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, warnings = read(path)
    assert 10 < len(frames) < 30
    assert any(text.endswith("header announces 40; it may be cut short") for text in warnings)


CUTTABLE = [pair for pair in CONTAINERS if pair[1] in {"mp4", "avi", "mkv", "mov"}]


@pytest.mark.parametrize(("codec", "suffix"), CUTTABLE)
@pytest.mark.parametrize("part", [0.01, 0.5, 0.9, 0.99])
def test_truncated_file_is_never_silent(tmp_path, codec, suffix, part):
    """An incomplete copy is refused, or its frames are right and a warning tells of the loss."""
    path = make_video(tmp_path / f"v.{suffix}", num_frames=40, codec=codec)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    for threads in (0, 1):
        frames, warnings = read_or_refuse(path, threads=threads)
        if frames is None:
            continue
        num_frames = len(frames)
        found = [read_frame_number(frame) for frame in frames[:-1]]  # the last may be in pieces
        assert found == [*range(num_frames - 1)]
        if num_frames < 40:
            assert (
                f"yields {num_frames} frames but its header announces 40; it may be cut short"
                in warnings
            )


@pytest.mark.parametrize(("codec", "suffix"), CUTTABLE)
@pytest.mark.parametrize("where", [0.3, 0.5, 0.7])
def test_damage_that_loses_frames_is_never_silent(tmp_path, codec, suffix, where):
    """Bad bytes in the middle lead to 40 frames, to a warning or to a refusal."""
    path = make_video(tmp_path / f"v.{suffix}", num_frames=40, codec=codec)
    data = bytearray(path.read_bytes())
    middle = int(len(data) * where)
    data[middle : middle + 100] = bytes([0x55]) * 100
    path.write_bytes(data)
    frames, warnings = read_or_refuse(path)
    if frames is not None:
        assert len(frames) == 40 or warnings
        assert {frame.shape for frame in frames} == {(64, 96)}


def test_concealed_damage_is_told(tmp_path):
    """Frames that the decoder made up keep their place, and the warning counts them."""
    path = make_video(tmp_path / "v.avi", num_frames=40, codec="mjpeg", height=128, width=128)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = [p for p in container.demux(video=0) if p.size][20]
    data[packet.pos + 8 : packet.pos + 8 + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    frames, warnings = read(path)
    assert len(frames) < 40
    assert any("1 packet not decoded; frames may be missing" in w for w in warnings)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("text.mp4", b"this is not a video\n" * 100),
        ("labels.avi", b"Frame,Action\n0,0\n"),
        ("zeros.mkv", bytes(10_000)),
        ("half_header.mp4", b"\x00\x00\x00\x20ftypisom"),
        ("picture.mp4", cv2.imencode(".png", np.zeros((64, 64), np.uint8))[1].tobytes()),
    ],
)
def test_file_that_is_no_video_is_refused(tmp_path, name, content):
    """The message names the file and asks for another export."""
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name).endswith("; export it again")


def test_what_is_no_file_is_refused(tmp_path):
    """Missing files and folders are told as such, and nothing like a URL is opened."""
    (tmp_path / "folder.mp4").mkdir()
    for name in ("none.mp4", "folder.mp4", "concat:v.mp4", "http://127.0.0.1:9/v.mp4", "a\0b.mp4"):
        with raises_problem("unreadable"):
            probe_video(tmp_path / name)


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile {name}\n",
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{name}\n#EXT-X-ENDLIST\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period>'
    '<AdaptationSet><Representation id="0"><BaseURL>{name}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", ["mp4", "avi", "ts"])
def test_playlist_in_disguise_opens_nothing(tmp_path, kind, suffix):
    """A file that names others is refused, although what it names could be decoded."""
    secret = make_video(tmp_path / "secret.ts")
    (tmp_path / f"v.{suffix}").write_text(PLAYLISTS[kind].format(name=secret.name))
    assert "cannot be opened as a video" in refusal(tmp_path / f"v.{suffix}")


def test_playlist_would_open_what_it_names(tmp_path):
    """The playlist of the test above does work where nobody forbids it."""
    make_video(tmp_path / "secret.ts")
    (tmp_path / "v.mp4").write_text(PLAYLISTS["ffconcat"].format(name="secret.ts"))
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert len([*container.decode(video=0)]) == 20


def test_sound_alone_is_refused(tmp_path):
    """A sound file has no frames, whatever its suffix says."""
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), "s16", "mono")
        sound.rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    assert refusal(tmp_path / "a.mp4").startswith("has no video stream that can be decoded")


def test_sound_that_outlasts_the_video_is_no_loss(tmp_path):
    """A Matroska file knows only its own duration: sound at its end is no missing frame."""
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        video = container.add_stream("ffv1", rate=30)
        video.width, video.height, video.pix_fmt = 64, 64, "gray"
        audio = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        for i, grey in enumerate(draw_frame_numbers(6)):
            frame = av.VideoFrame.from_ndarray(grey, format="gray")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        sound.rate = 8000
        container.mux(audio.encode(sound))
        container.mux(audio.encode())
    with av.open(str(tmp_path / "v.mkv")) as container:
        assert container.duration == 1_000_000, "one second of sound"
    frames, warnings = read(tmp_path / "v.mkv")
    assert (len(frames), warnings) == (6, [])


@pytest.mark.parametrize(
    ("height", "width"), [(MIN_SIDE_PX - 1, 64), (64, MIN_SIDE_PX - 1), (1, 1)]
)
def test_frames_that_are_too_small_are_refused(tmp_path, height, width):
    """The network halves a frame several times; the message gives width x height."""
    write_video(tmp_path / "v.mkv", np.zeros((2, height, width), np.uint8), codec="ffv1")
    assert refusal(tmp_path / "v.mkv") == (
        f"frames are {width}x{height} px, expected at least 16x16; film or export it larger"
    )


def test_smallest_and_odd_frames_are_read(tmp_path):
    """The limit itself is accepted, and odd sides lose no column."""
    for height, width in [(MIN_SIDE_PX, MIN_SIDE_PX), (33, 47)]:
        drawn = np.random.default_rng(0).integers(0, 256, (3, height, width), np.uint8)
        write_video(tmp_path / "v.mkv", drawn, codec="ffv1")
        np.testing.assert_array_equal(read(tmp_path / "v.mkv")[0], drawn)


@pytest.mark.parametrize("suffix", ["h264", "ts"])
def test_change_of_size_is_refused(tmp_path, suffix):
    """Two recordings glued together are told apart, with the frame where the second begins."""
    first = make_video(tmp_path / f"a.{suffix}", num_frames=12, height=64, width=64)
    second = make_video(tmp_path / f"b.{suffix}", num_frames=12, height=96, width=64)
    (tmp_path / f"v.{suffix}").write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(InputError) as caught:
        read(tmp_path / f"v.{suffix}")
    assert str(caught.value) == (
        f"v.{suffix}: the frame size changes from 64x64 to 64x96 px at frame 12; "
        "export it with one size"
    )


@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [("libx264", "yuv420p"), ("libx264", "yuvj420p"), ("libx264", "gray"), ("ffv1", "gray")],
)
@pytest.mark.parametrize("size", [None, (64, 128), (32, 256)])
def test_frames_belong_to_the_caller(tmp_path, codec, pix_fmt, size):
    """Writing to a frame changes no later one, although the codec builds them on each other."""
    path = tmp_path / "v.mkv"
    drawn, _ = draw_recording(seed=2, num_frames=20, height=64, width=128)
    write_video(path, drawn, codec=codec, pix_fmt=pix_fmt)
    untouched = np.stack([*read_frames(path, size=size)])
    kept = []
    for frame, expected in zip(read_frames(path, size=size), untouched, strict=True):
        np.testing.assert_array_equal(frame, expected)
        assert frame.flags.c_contiguous
        frame[:] = 77
        kept.append(frame)
    assert (np.stack(kept) == 77).all()


@pytest.mark.parametrize("name", ["mäuse  🐭 é;x.mp4", "пробег 鼠 %d %05d.mp4", "-i 'quoted\".mp4"])
def test_names_of_all_kinds_are_opened(tmp_path, name):
    """Names with spaces, signs and other scripts are names, not patterns or options."""
    assert numbers(make_video(tmp_path / "v.mp4", 3).rename(tmp_path / name)) == [0, 1, 2]


def test_relative_paths_are_opened(tmp_path, monkeypatch):
    """A name that looks like a protocol is still a file of the working folder."""
    make_video(tmp_path / "v.mp4", 3).rename(tmp_path / "concat:v.mp4")
    monkeypatch.chdir(tmp_path)
    assert numbers("concat:v.mp4") == [0, 1, 2]


def test_reading_can_stop_early(tmp_path):
    """A caller who has seen enough leaves no open file behind."""
    path = make_video(tmp_path / "v.mp4")
    frames = read_frames(path)
    assert read_frame_number(next(frames)) == 0
    frames.close()
    path.unlink()
    assert not path.exists()


def test_warnings_are_appended(tmp_path):
    """The caller's list keeps what it holds, and no list is needed."""
    path = make_video(tmp_path / "v.mp4", fps=25)
    warnings = ["before"]
    assert len([*read_frames(path, warnings=warnings)]) == 20
    assert warnings == [
        "before",
        "runs at 25 frames per second, expected 30; mpar keeps its frames and times",
    ]
    assert len([*read_frames(path)]) == 20


def test_pixels_that_are_not_square(tmp_path):
    """Players stretch such pictures; mpar takes them as they are and warns."""
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        for i, grey in enumerate(draw_frame_numbers(6, 64, 96)):
            frame = av.VideoFrame.from_ndarray(np.pad(grey, ((0, 32), (0, 0))), format="yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames, warnings = read(path)
    assert frames[0].shape == (64, 96)
    assert warnings == [
        "has pixels 2 times as wide as high, which players stretch; mpar does not stretch its "
        "96x64 px"
    ]


def test_damage_in_the_middle_is_no_cut(tmp_path):
    """A lost packet does not mean that the copy broke off."""
    path = make_video(tmp_path / "v.avi", num_frames=40, codec="mpeg4", height=128, width=128)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = [p for p in container.demux(video=0) if p.size][20]
    data[packet.pos - 8 : packet.pos - 4] = b"JUNK"
    path.write_bytes(data)
    frames, warnings = read(path)
    assert len(frames) < 40
    assert warnings
    assert not any("cut short" in text for text in warnings)


def test_long_sound_is_no_cut(tmp_path):
    """The file says itself when its picture ends."""
    for suffix in ("mp4", "mkv"):
        path = tmp_path / f"v.{suffix}"
        write_with_sound(path, "aac", sound_start=0, num_sounds=300)
        assert read(path)[1] == []


@pytest.mark.parametrize(
    ("num_packets", "hint", "expected"),
    [
        pytest.param(360, 360, [360, 180], id="plain"),
        pytest.param(390, 360, [390, 360, 195], id="packets that show nothing"),
        pytest.param(720, 360, [720, 360], id="a packet for each field"),
        pytest.param(360, 1 << 40, [360, 180], id="a damaged header"),
        pytest.param(1, 0, [1], id="one packet"),
        pytest.param(0, 360, [], id="not counted"),
    ],
)
def test_likely_numbers_of_frames(num_packets, hint, expected):
    """Packets come first; the header may be right about fewer, never about more."""
    info = VideoInfo(64, 64, Fraction(30), hint, "h264", "mp4", num_packets=num_packets)
    assert info.likely_counts == expected
