"""Figures show the numbers, in colours and sizes that everyone can read."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from fractions import Fraction

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from mpar.assay.plots import plot_groups, plot_raster, plot_time_course
from mpar.matching.metadata import Animal
from mpar.report.plots import plot_class_f1, plot_clips, plot_confusion, plot_ethogram
from mpar.report.style import add_warning, class_colors, save_figure
from mpar.scores.metrics import frame_scores
from mpar.video.timeline import TimeLine
from tests.fixtures.helpers import recording_of

NAMES = ("rest", "paw_lick", "walk")
LONG_NAMES = tuple(f"a_long_name_of_some_behaviour_{k}" for k in range(12))

# Machado et al. 2009, severity 1.0; for linear RGB.
COLOR_VISION = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def cielab(colors, vision):
    """CIELAB (D65) of sRGB colours as seen with a kind of colour vision."""
    srgb = np.array([to_rgb(color) for color in colors])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(COLOR_VISION[vision]).T, 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear @ to_xyz.T / to_xyz.sum(axis=1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = f.T
    return np.column_stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def drawn(figure):
    """Draw a figure and give its pixels, top row first."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


def strip_colors(figure, row, times):
    """Read the colours of an ethogram strip at some times."""
    pixels = drawn(figure)
    points = figure.axes[0].transData.transform([(time, row) for time in times])
    return [tuple(pixels[len(pixels) - 1 - int(y), int(x)]) for x, y in points]


def rgb255(color):
    return tuple(round(255 * value) for value in to_rgb(color))


def texts(figure):
    figure.canvas.draw()
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def words(figure):
    return [text.get_text() for text in texts(figure)]


@pytest.mark.parametrize("vision", COLOR_VISION)
@pytest.mark.parametrize(("num_classes", "distance"), [(6, 40), (12, 23)])
def test_colors_can_be_told_apart(vision, num_classes, distance):
    """No two colours look alike to a colour-blind reader."""
    lab = cielab(class_colors(num_classes), vision)
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)) > distance


@pytest.mark.parametrize(("num_classes", "step"), [(6, 12), (12, 3.5)])
def test_colors_differ_in_grey_print(num_classes, step):
    """Every colour has a lightness of its own, and none is lost on white paper."""
    lightness = np.sort(cielab(class_colors(num_classes), "normal")[:, 0])
    assert np.diff([*lightness, 100]).min() > min(step, 10)


def test_a_class_keeps_its_color():
    """Colours are fixed by class index and distinct for any number of classes."""
    many = class_colors(60)
    assert len(set(many)) == 60
    assert all(class_colors(k) == many[:k] for k in range(60))
    with pytest.raises(ValueError, match="num_classes"):
        class_colors(-1)


def test_confusion_counts_and_percent():
    """Cells hold frames or percent of the true class, rounded without hiding errors."""
    truth = [0] * 5000 + [1] * 4
    predicted = [0] * 4999 + [1] + [1, 1, 1, 0]
    scores = frame_scores(truth, predicted, NAMES[:2])
    cells = [text.get_text() for text in plot_confusion(scores, normalize=False).axes[0].texts]
    assert cells == ["4,999", "1", "1", "3"]
    cells = [text.get_text() for text in plot_confusion(scores, normalize=True).axes[0].texts]
    assert cells == [">99.9", "<0.1", "25.0", "75.0"]


def test_confusion_shades_by_share_of_the_true_class():
    """A rare class is shaded like a frequent one, in counts as well."""
    scores = frame_scores([0] * 90 + [1, 1], [0] * 45 + [1] * 45 + [1, 0], NAMES[:2])
    shares = plot_confusion(scores, normalize=False).axes[0].images[0].get_array()
    assert shares.tolist() == [[50, 50], [50, 50]]


def test_confusion_shows_unlabelled_only_where_predicted():
    """The column for frames without a predicted class is there only if it holds any."""
    without = plot_confusion(frame_scores([0, 1, 2], [0, 1, 1], NAMES), normalize=False)
    assert "unlabelled" not in words(without)
    assert without.axes[0].images[0].get_array().shape == (3, 3)
    figure = plot_confusion(frame_scores([0, 1, 2], [0, 1, -1], NAMES), normalize=False)
    assert "unlabelled" in words(figure)
    assert figure.axes[0].images[0].get_array().tolist()[2] == [0, 0, 0, 100]


def test_missing_class_is_marked():
    """A class without frames in the truth says n/a and is hatched, and no other does."""
    scores = frame_scores([0, 0, 1], [0, 1, 1], NAMES)
    for figure in (
        plot_confusion(scores, normalize=False),
        plot_confusion(scores, normalize=True),
        plot_class_f1(scores),
    ):
        (mark,) = [text for text in texts(figure) if text.get_text() == "n/a"]
        assert mark.get_position()[1] == 2
        assert sum(bool(patch.get_hatch()) for patch in figure.axes[0].patches) == 1
        assert "walk\nn = 0" in words(figure)


def test_class_f1_bars():
    """Bars, values, support and macro-F1 are those of the scores."""
    scores = frame_scores([0, 0, 1, 1, 2], [0, 0, 1, 0, 1], NAMES)
    figure = plot_class_f1(scores)
    axes = figure.axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in axes.containers[0]], scores.f1)
    colors = [bar.get_facecolor()[:3] for bar in axes.containers[0]]
    assert colors == [to_rgb(color) for color in class_colors(3)]
    assert [text.get_text() for text in axes.texts] == ["0.80", "0.50", "0.00"]
    assert axes.lines[0].get_xdata()[0] == scores.macro_f1
    assert {"rest\nn = 2", "walk\nn = 1", "macro-F1 = 0.43 (3 of 3 classes)"} <= set(words(figure))
    assert axes.yaxis_inverted()


def test_whiskers_are_the_intervals():
    """Also where an interval lies beside its score; classes without one have none."""
    scores = frame_scores([0, 0, 1, 1, 2], [0, 0, 1, 0, 1], NAMES)
    intervals = np.array([[0.7, 0.9], [0.6, 0.75], [np.nan, np.nan]])
    figure = plot_class_f1(
        scores, intervals=intervals, macro_interval=np.array([0.4, 0.5]), num_animals=7
    )
    (whiskers,) = figure.axes[0].collections
    *segments, none = whiskers.get_segments()
    np.testing.assert_allclose([segment[:, 0] for segment in segments], intervals[:2])
    assert len(none) == 0
    assert "macro-F1 = 0.43 (3 of 3 classes)\n95 % CI 0.40 to 0.50" in words(figure)
    assert figure.axes[0].get_xlabel() == "F1\nwhiskers: 95 % CI over 7 animals"


def test_warning_stands_above_everything():
    """It covers no legend, and is not wider than its figure."""
    warning = "same-animal: " + "a long warning " * 8
    for figure in (*all_figures(NAMES), plot_time_course(bins_table(["a", "b"]), NAMES)):
        figure.draw_without_rendering()
        top, before = figure.get_tightbbox().y1, list(figure.texts)
        assert add_warning(figure, "").texts == before
        assert add_warning(figure, warning) is figure
        (added,) = set(figure.texts) - set(before)
        box = added.get_window_extent()
        assert box.y0 >= (top - 0.01) * figure.dpi
        assert box.width < figure.get_figwidth() * figure.dpi
        assert added.get_size() >= 7
        # where things are while a figure is saved, cropped, only an artist in it can see
        seen = []
        spy = mpl.artist.Artist()
        spy.set_in_layout(False)
        spy.draw = lambda _, artists=(added, *figure.legends), seen=seen: seen.append(
            [artist.get_window_extent() for artist in artists]
        )
        figure.add_artist(spy)
        figure.savefig(io.BytesIO(), bbox_inches="tight")
        first, *others = seen[-1]
        assert all(other.y1 <= first.y0 + 1 for other in others)


def test_ethogram_colors_every_frame():
    """In a short video, the middle of each frame has the colour of its class."""
    labels = np.random.default_rng(0).integers(0, 6, (2, 60))
    rows = [("truth", labels[0]), ("prediction", labels[1])]
    figure = plot_ethogram(rows, "abcdef", fps=30)
    colors = [rgb255(color) for color in class_colors(6)]
    times = (np.arange(60) + 0.5) / 30
    for row in range(2):
        assert strip_colors(figure, row, times) == [colors[label] for label in labels[row]]
    assert figure.axes[0].get_xlim() == (0, 2)
    assert words(figure).index("truth") < words(figure).index("prediction")


@pytest.mark.parametrize("num_frames", [720, 108_000])
def test_ethogram_keeps_events_of_one_frame(num_frames):
    """One frame among 12 s or 30 min still leaves a mark in the colour of its class."""
    labels = np.zeros(num_frames, dtype=int)
    event = num_frames // 3
    labels[event] = 2
    figure = plot_ethogram([("truth", labels)], NAMES, fps=60)
    figure.set_dpi(300)
    around = [(event + 0.5) / 60 + shift * num_frames / 60 / 2000 for shift in (-1, 0, 1)]
    target, rest = (np.array(rgb255(class_colors(3)[k])) for k in (2, 0))
    share = max(
        np.dot(np.array(color) - rest, target - rest) / np.dot(target - rest, target - rest)
        for color in strip_colors(figure, 0, around)
    )
    assert share > 0.6


def test_ethogram_of_flicker_stays_small():
    """The number of shapes is bounded by what can be seen, not by the number of bouts."""
    labels = np.arange(108_000) % 3
    figure = plot_ethogram([("noise", labels)], NAMES, fps=60)
    shapes = [len(bars.get_paths()) for bars in figure.axes[0].collections]
    assert len(shapes) == 3
    assert max(shapes) <= 4000
    spans = [bars.get_datalim(figure.axes[0].transData) for bars in figure.axes[0].collections]
    assert {round(60 * span.x1) - round(60 * span.x0) for span in spans} == {107_998}


def test_ethogram_hatches_unlabelled():
    """Unlabelled frames are hatched and in the legend, but only where there are any."""
    figure = plot_ethogram([("a", [0, 0, -1, -1]), ("b", [0, 1, 1, 1])], NAMES, fps=2)
    hatched = [bars for bars in figure.axes[0].collections if bars.get_hatch()]
    (span,) = [bars.get_datalim(figure.axes[0].transData) for bars in hatched]
    assert (span.x0, span.x1) == (1.0, 2.0)
    assert "unlabelled" in words(figure)
    assert "unlabelled" not in words(plot_ethogram([("b", [0, 1])], NAMES, fps=2))


def test_ethogram_ends_with_each_row():
    """A shorter row stops where its recording stops."""
    figure = plot_ethogram([("a", [1] * 40), ("b", [1] * 20)], NAMES, fps=10)
    red = rgb255(class_colors(2)[1])
    assert strip_colors(figure, 1, [1.9, 2.1]) == [red, (255, 255, 255)]


@pytest.mark.parametrize(
    ("rows", "fps", "message"),
    [
        pytest.param([], 30, "no frames", id="no rows"),
        pytest.param([("a", np.zeros(0, int))], 30, "no frames", id="no frames"),
        pytest.param([("a", [0, 3])], 30, "labels: found 3", id="label out of range"),
        pytest.param([("a", [0, 1])], 0, "fps", id="fps zero"),
    ],
)
def test_ethogram_refuses_bad_rows(rows, fps, message):
    """What cannot be drawn is refused with a reason."""
    with pytest.raises(ValueError, match=message):
        plot_ethogram(rows, NAMES, fps=fps)


def all_figures(names):
    frames = np.arange(len(names) * 5) % len(names)
    predicted = np.where(np.arange(len(frames)) % 7 == 0, -1, np.roll(frames, 1))
    scores = frame_scores(frames, predicted, names)
    return [
        plot_confusion(scores, normalize=True),
        plot_class_f1(scores),
        plot_ethogram([("truth", frames), ("prediction", predicted)], names, fps=30, title="m_3"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("names", [NAMES[:2], LONG_NAMES], ids=["two classes", "twelve, long"])
def test_no_text_is_clipped_or_small(names):
    """All text lies inside the figure and has at least 7 pt."""
    for figure in all_figures(names):
        figure.canvas.draw()
        box = figure.get_tightbbox()
        width, height = figure.get_size_inches()
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.01
        for text in texts(figure):
            assert text.get_size() >= 7


def test_names_are_not_read_as_formulas():
    """Names with dollar signs are shown, not parsed."""
    for figure in all_figures(["a$^", "$b_{$"]):
        drawn(figure)


def test_save_figure_writes_png_and_pdf(tmp_path):
    """Both files stand beside each other, whole, sharp, and the same each time."""
    first, again = (
        save_figure(all_figures(NAMES)[2], tmp_path / name) for name in ("fig.v1", "again")
    )
    assert [path.name for path in first] == ["fig.v1.png", "fig.v1.pdf"]
    assert first[0].read_bytes().startswith(b"\x89PNG")
    assert first[1].read_bytes().startswith(b"%PDF")
    assert first[1].read_bytes().rstrip().endswith(b"%%EOF")
    assert b"Type3" not in first[1].read_bytes()
    assert b"CreationDate" not in first[1].read_bytes()
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert len(list(tmp_path.iterdir())) == 4
    width = int.from_bytes(first[0].read_bytes()[16:20], "big")
    assert width > 6.5 * 300


def test_save_figure_keeps_old_files_when_it_fails(tmp_path, monkeypatch):
    """A failure half-way leaves both old files as they were, and nothing else."""
    (tmp_path / "fig.png").write_text("old png")
    (tmp_path / "fig.pdf").write_text("old pdf")
    savefig = Figure.savefig

    def fail_at_pdf(figure, path, **options):
        savefig(figure, path, **options)
        if options["format"] == "pdf":
            raise OSError("out of memory")

    monkeypatch.setattr(Figure, "savefig", fail_at_pdf)
    with pytest.raises(OSError, match="out of memory"):
        save_figure(Figure(), tmp_path / "fig")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fig.pdf", "fig.png"]
    assert (tmp_path / "fig.png").read_text() == "old png"
    assert (tmp_path / "fig.pdf").read_text() == "old pdf"


def test_global_settings_are_left_alone(tmp_path):
    """Plotting and saving change no setting of matplotlib."""
    before = dict(mpl.rcParams)
    save_figure(all_figures(NAMES)[0], tmp_path / "fig")
    assert dict(mpl.rcParams) == before


@pytest.mark.slow
def test_import_does_not_load_pyplot():
    """The module brings no pyplot along, so it chooses no backend."""
    code = "import sys, mpar.report.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("shape", [(60, 200), (300, 200), (512, 512)])
def test_captions_of_film_strips_stay_apart(shape):
    """Four lines of long names fit beside frames of any shape, and are not read as formulas."""
    clips = [np.zeros((4, *shape), np.uint8)] * 3
    caption = f"{LONG_NAMES[0]}\nframe 3\n$a$ → {LONG_NAMES[1]}\np = 0.5"
    figure = plot_clips(clips, [caption] * 3, offsets=(-4, -2, 0, 2))
    assert caption.replace("$", r"\$") in words(figure)
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(lower.y1 < upper.y0 for upper, lower in itertools.pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0
    assert boxes[0].y1 <= figure.bbox.y1


# Figures of an assay


def raster_rows(onset=0):
    labels = np.repeat([0, 1, 2, -1, 0], 30)
    return [
        animal_of(group, f"m{i}", labels, Fraction(30) / (1 + i % 2), onset)
        for i, group in enumerate(["vehicle", "vehicle", "10 $mg$/kg"])
    ]


def animal_of(group, name, labels, fps, onset=0):
    return Animal(recording_of(labels, name, fps), name, group, Fraction(onset), {})


def test_raster_has_a_strip_an_animal_on_one_clock():
    """Strips lie below their group, and a frame is as wide as its frame rate says."""
    (axes,) = plot_raster(raster_rows(), NAMES).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["m0", "m1", "m2"]
    assert axes.get_yticks().tolist() == [1, 2, 4]
    assert [text.get_text() for text in axes.texts] == ["vehicle (n = 2)", r"10 \$mg\$/kg (n = 1)"]
    assert axes.get_xlim() == (0, 10)  # 150 frames, at 15 a second at the slowest
    ends = sorted({bar.get_paths()[-1].get_extents().x1 for bar in axes.collections})
    assert ends[-1] == pytest.approx(10)
    assert any(end == pytest.approx(5) for end in ends)


def test_frames_of_an_uneven_recording_are_drawn_when_they_were_shown():
    """By hand: frames at 0, 1, 2 and 6 s, the last for 4 s as the one before it."""
    line = TimeLine(4, Fraction(1), np.array([0.0, 1, 2, 6]))
    (axes,) = plot_ethogram([("a", [0, 0, 1, 1])], NAMES, fps=1, line=line).axes
    assert axes.get_xlim() == (0, 7)
    starts = sorted(bar.get_paths()[0].get_extents().x0 for bar in axes.collections)
    assert starts == [0, 2]


def test_raster_counts_from_the_stimulus():
    """Time 0 is marked, and what came before it is negative."""
    (axes,) = plot_raster(raster_rows(onset=2), NAMES).axes
    assert axes.get_xlim() == (-2, 8)
    assert axes.get_xlabel() == "time from the stimulus (s)"
    assert [line.get_xdata()[0] for line in axes.lines] == [0]
    minutes = [animal_of("a", "m", np.zeros(3000, int), 10)]
    (axes,) = plot_raster(minutes, NAMES).axes
    assert (axes.get_xlim(), axes.get_xlabel()) == ((0, 5), "time (min)")


def bins_table(groups, names=NAMES):
    rows = [
        {
            "Group": group,
            "Window_start_s": 10.0 * i,
            "Window_stop_s": 10.0 * i + 10,
            "Class": name,
            "N": 0 if i == 3 else 1 if i == 2 else 5 - g,
            "Mean": None if i == 3 else 10.0 * g + i,
            "SEM": None if i >= 2 else 1.5,
        }
        for g, group in enumerate(groups)
        for i in range(4)
        for name in names
    ]
    return pd.DataFrame(rows)


def test_time_course_shows_means_and_bands():
    """Points in the middle of bins; a bin of one animal has no band, one of none no point."""
    figure = plot_time_course(bins_table(["a", "b"]), NAMES)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == list(NAMES)
    first, second = panels[1].lines
    assert first.get_xdata().tolist() == [5, 15, 25]
    assert second.get_ydata().tolist() == [10, 11, 12]
    (box,) = (band.get_datalim(panels[1].transData) for band in panels[1].collections[1:])
    assert (box.x1, box.y0, box.y1) == (15, 8.5, 12.5)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a (n = 0-5)", "b (n = 0-4)"]


def test_groups_of_a_time_course_differ_without_colour():
    """Line, marker and filling tell groups apart, and their greys are no class's colour."""
    lines = plot_time_course(bins_table("abcdef"), NAMES).axes[0].lines
    styles = {(n.get_linestyle(), n.get_marker(), n.get_markerfacecolor()) for n in lines}
    assert len(styles) == 6
    for line in lines:
        red, green, blue = to_rgb(line.get_color())
        assert red == green == blue


def window_table(groups, names=NAMES, num_animals=5):
    rows = [
        {
            "Group": group,
            "Animal": f"{group}{i}",
            "Class": name,
            "Seconds": 2.0 * i,
            "Bouts": i,
            "Latency_s": 1.0 * i if i else None,
            "Latency_censored": "no" if i else "yes",
            "Observed_s": 60.0,
        }
        for group in groups
        for i in range(num_animals)
        for name in names
    ]
    return pd.DataFrame(rows)


def test_groups_show_a_point_an_animal():
    """Boxes have the class's colour and median; those that never did it are triangles."""
    axes = plot_groups(window_table(["a", "b"]), NAMES).axes
    assert len(axes) == 3 * len(NAMES)
    seconds, bouts, latency = axes[3:6]
    assert [axes[i].get_title(loc="left") for i in (0, 3, 6)] == list(NAMES)
    boxes = [patch for patch in seconds.patches if not isinstance(patch, mpl.patches.Rectangle)]
    assert {mpl.colors.to_hex(box.get_facecolor()) for box in boxes} == {class_colors(3)[1].lower()}
    points = [line for line in seconds.lines if line.get_marker() == "o"]
    assert [line.get_ydata().tolist() for line in points] == [[0, 2, 4, 6, 8]] * 2
    never = [line for line in latency.lines if line.get_marker() == "^"]
    assert [line.get_ydata().tolist() for line in never] == [[60.0]] * 2
    assert latency.get_ylabel() == "latency (s)\n△ no bout"
    assert not [patch for patch in latency.patches if not isinstance(patch, mpl.patches.Rectangle)]
    assert all(tick == int(tick) for tick in bouts.get_yticks())


@pytest.mark.slow
def test_figures_of_an_assay_of_any_shape(tmp_path):
    """Long names of classes and groups, and groups of one animal, fit without a warning."""
    groups = ["a group with a long name, 10 mg/kg", "b", "c", "d", "e", "$g$"]
    names = LONG_NAMES[:4]
    figure = plot_groups(window_table(groups, names, 1), names, title="late_$1$")
    figure.savefig(tmp_path / "groups.png", dpi=30)
    plot_time_course(bins_table(groups, names), names).savefig(tmp_path / "course.png", dpi=30)
    rows = [animal_of(group, LONG_NAMES[0], np.zeros(9, int), 30) for group in groups]
    plot_raster(rows, names).savefig(tmp_path / "raster.png", dpi=30)
