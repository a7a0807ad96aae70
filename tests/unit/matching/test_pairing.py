"""Every label file goes to its video, or to the list of problems, and is read once."""

from __future__ import annotations

import logging
import os
import unicodedata
from pathlib import Path

import pytest

from mpar.errors import ConfigError, InputError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.labels.names import NameIndex
from mpar.matching import pairing
from mpar.matching.groups import find_group, warn_of_groups
from mpar.matching.pairing import assign_label_files, find_recordings
from mpar.system.folders import find_files


def composed(name):
    return unicodedata.normalize("NFC", name)


def decomposed(name):
    return unicodedata.normalize("NFD", name)


def make_files(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Frame,Action\n0,rest\n", encoding="utf-8")
    return folder


def find(videos, annotations):
    return find_recordings(videos, annotations, DEFAULT_CLASS_MAP)


def pair(folder, videos, annotations):
    """Make files and pair them: {video: its label files}, {file: its problem}."""
    make_files(folder / "Videos", videos)
    make_files(folder / "Annotations", annotations)
    (folder / "Annotations").mkdir(exist_ok=True)
    sources, problems = find(folder / "Videos", folder / "Annotations")
    return (
        {s.video.name: [labels.path.name for labels in s.labels] for s in sources},
        {p.path: p.message for p in problems},
    )


def paired(id, videos, annotations, sources, problems=()):
    return pytest.param(videos.split(), annotations.split(), sources, [*problems], id=id)


@pytest.mark.parametrize(
    ("videos", "annotations", "sources", "problems"),
    [
        paired("the same name", "a.mp4", "a.csv", {"a.mp4": ["a.csv"]}),
        paired(
            "a name that goes on after _ . or -",
            "a.mp4",
            "a_ann.csv a-ann.csv a.ann.csv a.mp4.csv",
            {"a.mp4": ["a-ann.csv", "a.ann.csv", "a.mp4.csv", "a_ann.csv"]},
        ),
        paired("a name that goes on otherwise", "a.mp4", "ab.csv", {}, ["a.mp4", "ab.csv"]),
        paired(
            "video_1 and video_10",
            "video_1.mp4 video_10.mp4",
            "video_1_a.csv video_10_a.csv",
            {"video_1.mp4": ["video_1_a.csv"], "video_10.mp4": ["video_10_a.csv"]},
        ),
        paired(
            "video_1 without labels does not take those of video_10",
            "video_1.mp4 video_10.mp4",
            "video_10_a.csv",
            {"video_10.mp4": ["video_10_a.csv"]},
            ["video_1.mp4"],
        ),
        paired(
            "the longest name wins",
            "video_1.mp4 video_1_2.mp4",
            "video_1_a.csv video_1_2_a.csv video_1_2.csv",
            {
                "video_1.mp4": ["video_1_a.csv"],
                "video_1_2.mp4": ["video_1_2.csv", "video_1_2_a.csv"],
            },
        ),
        paired(
            "without video_1_2 the file is the second of video_1",
            "video_1.mp4",
            "video_1_1.csv video_1_2.csv",
            {"video_1.mp4": ["video_1_1.csv", "video_1_2.csv"]},
        ),
        paired(
            "the field's names of trials",
            "video_1.mp4 video_10.avi",
            "prediction_video_1.mp4_0.csv prediction_video_1.mp4_1.csv prediction_video_10.avi.csv",
            {
                "video_1.mp4": ["prediction_video_1.mp4_0.csv", "prediction_video_1.mp4_1.csv"],
                "video_10.avi": ["prediction_video_10.avi.csv"],
            },
        ),
        paired(
            "the field's names with another suffix",
            "a.mp4",
            "prediction_a.avi_0.csv prediction_a_0.csv prediction_a.mp40.csv",
            {},
            ["a.mp4", "prediction_a.avi_0.csv", "prediction_a.mp40.csv", "prediction_a_0.csv"],
        ),
        paired(
            "a video whose own name begins with prediction_",
            "a.mp4 prediction_a.mp4",
            "prediction_a.mp4_0.csv prediction_a_1.csv a_1.csv",
            {
                "a.mp4": ["a_1.csv"],
                "prediction_a.mp4": ["prediction_a.mp4_0.csv", "prediction_a_1.csv"],
            },
        ),
        paired(
            "dots in names",
            "m.1.mp4 m.mp4",
            "m.1.csv m.2.csv",
            {"m.1.mp4": ["m.1.csv"], "m.mp4": ["m.2.csv"]},
        ),
        paired(
            "signs that mean something in a pattern",
            "m(1)+[x].mp4 m1.mp4",
            "m(1)+[x]_a.csv m1.csv",
            {"m(1)+[x].mp4": ["m(1)+[x]_a.csv"], "m1.mp4": ["m1.csv"]},
        ),
        paired(
            "suffixes in capitals",
            "a.MP4 b.AVI",
            "a.CSV b.tsv",
            {"a.MP4": ["a.CSV"], "b.AVI": ["b.tsv"]},
        ),
        paired(
            "subfolders",
            "day1/a.mp4 day2/deep/b.mp4",
            "ann/b.csv x/y/a_1.csv",
            {"a.mp4": ["a_1.csv"], "b.mp4": ["b.csv"]},
        ),
        paired(
            "hidden files and folders, other files",
            "a.mp4 ._a.mp4 .trash/b.mp4 notes.txt a.mp4.part",
            "a.csv ._a.csv .old/a_2.csv a.ods ~$a.xlsx a_3.csv~",
            {"a.mp4": ["a.csv"]},
        ),
        paired("labels without a video", "a.mp4", "a.csv b.csv", {"a.mp4": ["a.csv"]}, ["b.csv"]),
        paired("names in another case", "A.mp4", "a.csv", {"A.mp4": ["a.csv"]}),
        paired(
            "capitals that tell two videos apart",
            "A.mp4 a.avi",
            "a.csv A_1.csv",
            {"A.mp4": ["A_1.csv"], "a.avi": ["a.csv"]},
        ),
    ],
)
def test_label_files_are_paired_by_name(tmp_path, videos, annotations, sources, problems):
    """Each label file goes to one video at most; what is left over is a problem by name."""
    found, found_problems = pair(tmp_path, videos, annotations)
    assert found == sources
    assert sorted(found_problems) == problems


def test_problems_of_pairing_say_what_was_expected(tmp_path):
    """The person learns which names would do."""
    _, problems = pair(tmp_path, ["a.mp4"], ["b.csv"])
    assert problems == {
        "a.mp4": "has no labels, expected a.csv or a_*.csv; add labels",
        "b.csv": "matches no video, expected a name that starts with that of a video; rename it",
    }


@pytest.mark.parametrize("of_video", [composed, decomposed])
@pytest.mark.parametrize("of_labels", [composed, decomposed])
def test_accents_may_be_stored_either_way(tmp_path, of_video, of_labels):
    """A label file from a Mac fits a video from Windows."""
    video, labels = of_video("mäusé 🐭.mp4"), of_labels("mäusé 🐭_1.csv")
    assert pair(tmp_path, [video], [labels]) == ({video: [labels]}, {})


def test_longest_name_is_measured_in_letters():
    """Accents that are stored apart do not make a name longer than it is."""
    videos = [Path(decomposed("ééé") + ".mp4"), Path(composed("ééé_1") + ".mp4")]
    index = NameIndex((video.name, video) for video in videos)
    assert index.find_owners("ééé_1_a") == [videos[1]]
    assert index.find_owners("ééé_2_a") == [videos[0]]
    assert index.find_owners("éé") == []


@pytest.mark.parametrize("second", ["a.avi", "day2/a.mp4", "day2/sub/a.mp4"])
def test_videos_of_one_name_are_all_left_out(tmp_path, second):
    """Nobody knows whose labels are whose: none of the videos gets those of the other."""
    sources, problems = find(
        make_files(tmp_path / "Videos", ["a.mp4", second, "b.mp4"]),
        make_files(tmp_path / "Annotations", ["day1/a.csv", "day2/a.csv", "b.csv"]),
    )
    assert [source.video.stem for source in sources] == ["b"]
    first, second = tmp_path / "Videos" / "a.mp4", tmp_path / "Videos" / second
    assert sorted((p.path, p.message) for p in problems) == sorted(
        [
            (first.name, f"has the same name as {second}; rename one of them and its label files"),
            (second.name, f"has the same name as {first}; rename one of them and its label files"),
        ]
    )


def test_videos_whose_names_differ_in_the_storage_of_accents_clash(tmp_path):
    """Two files that look the same on every screen are the same name."""
    videos = [composed("é.mp4"), decomposed("é.mp4")]
    sources, problems = pair(tmp_path, videos, ["é.csv"])
    assert sources == {}
    assert set(problems) == set(videos)


@pytest.mark.skipif(os.name == "nt", reason="names are always text there")
def test_name_that_is_no_text_is_a_problem(tmp_path):
    """A name with stray bytes would break the cache and every report, so it is reported first."""
    stray = os.fsdecode(b"stray_\xff")
    sources, problems = pair(tmp_path, ["a.mp4", f"{stray}.mp4"], ["a.csv", f"{stray}.csv"])
    assert ascii(sources) == ascii({"a.mp4": ["a.csv"]})
    told = {ascii(path): message for path, message in problems.items()}
    shown = map(ascii, [r"stray_\udcff.csv", r"stray_\udcff.mp4"])
    assert told == dict.fromkeys(shown, "has a name that is not UTF-8 text; rename it")


@pytest.mark.parametrize("missing", ["Videos", "Annotations"])
def test_missing_folder_is_a_wrong_option(tmp_path, missing):
    """A mistyped path is not an empty data set."""
    (tmp_path / {"Videos": "Annotations", "Annotations": "Videos"}[missing]).mkdir()
    with pytest.raises(ConfigError, match=f"{missing}: is not a folder; check the path"):
        find(tmp_path / "Videos", tmp_path / "Annotations")


def test_folder_without_a_video_is_a_wrong_option(tmp_path):
    """Folders that were swapped are told at once."""
    make_files(tmp_path, ["a.csv", ".a.mp4"])
    with pytest.raises(ConfigError, match=r"found no video \(.mp4 .avi .* check the path"):
        find(tmp_path, tmp_path)


def test_videos_and_labels_may_lie_in_one_folder(tmp_path):
    """The same folder twice is fine, and sources come in order of path."""
    make_files(tmp_path, ["b.mp4", "b.csv", "a.mp4", "a.csv", "A/c.mp4", "A/c.csv"])
    sources, problems = find(tmp_path, tmp_path)
    assert [source.video.stem for source in sources] == ["c", "a", "b"]
    assert problems == []


def test_folder_that_cannot_be_listed_is_not_passed_over(tmp_path, monkeypatch):
    """A folder without permission must not shrink the data set in silence."""
    make_files(tmp_path, ["a.mp4", "locked/b.mp4"])
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ConfigError, match=r"locked: cannot be listed \(Permission denied\); "):
        find_files(tmp_path, [".mp4"])


@pytest.mark.parametrize(
    ("pattern", "group"),
    [
        pytest.param(None, "m12_day1", id="by default the video's name"),
        pytest.param(r"m\d+", "m12", id="the whole match"),
        pytest.param(r"m(\d+)_day", "12", id="the first group"),
        pytest.param(r"m(?:\d+)", "m12", id="a group that catches nothing is none"),
        pytest.param(r"\d+$", "1", id="the 4 of mp4 is no number of an animal"),
        pytest.param(r"(day\d)$", "day1", id="the name ends before the suffix"),
    ],
)
def test_group_is_found_in_the_name(pattern, group):
    """The pattern looks at the file's name only."""
    video = Path("m99_folder/m12_day1.mp4")
    assert find_group(video, pattern) == group


@pytest.mark.parametrize("pattern", [r"rat\d+", r"(rat)?m12", r"(x*)", r"day1\.mp4"])
def test_group_that_is_not_found_is_refused(pattern):
    """An animal without an id would stand on both sides of a split."""
    with pytest.raises(InputError) as caught:
        find_group(Path("Videos/m12_day1.mp4"), pattern)
    assert str(caught.value) == (
        f"m12_day1.mp4: --group-pattern '{pattern}' finds no animal in 'm12_day1' (the suffix "
        "does not count); fix the pattern or rename the file"
    )


def test_group_does_not_depend_on_the_storage_of_accents():
    """One animal filmed on two systems is one animal."""
    pattern = "^[^_]+"
    names = [composed("é_1.mp4"), decomposed("é_2.mp4")]
    assert {find_group(Path(name), pattern) for name in names} == {composed("é")}


def test_pattern_that_finds_one_animal_in_all_videos_is_warned_of(caplog):
    """A pattern that catches the date makes one animal of all, and no split is possible."""
    with caplog.at_level(logging.WARNING):
        warn_of_groups(["2024_m1", "2025_m1"], r"20\d\d")
        warn_of_groups(["2024_m1"], r"20\d\d")
        warn_of_groups(["m1", "m1"], None)
        assert not caplog.messages
        warn_of_groups(["2024_m1", "2024_m2"], r"20\d\d")
    assert caplog.messages == [
        "--group-pattern '20\\d\\d' finds the same animal, '2024', in all 2 videos; if they show "
        "several animals, fix the pattern"
    ]


def test_pattern_that_finds_one_animal_in_two_spellings(caplog):
    """M1 and m1 would be on both sides of a split; without a pattern they are two videos."""
    with caplog.at_level(logging.WARNING):
        warn_of_groups(["M1", "m1"], None)
        assert not caplog.messages
        warn_of_groups(["M1", "m2", "m1"], r"(?i)m\d")
    assert caplog.messages == [
        "--group-pattern '(?i)m\\d' finds the animals 'M1' and 'm1', which differ only in "
        "case, spaces or leading zeros and count as 2; if they are one, rename the videos"
    ]


@pytest.mark.parametrize(
    ("names", "pattern", "alike"),
    [
        pytest.param(["m01_a", "m2_a", "m1_b"], r"m\d+", "'m01' and 'm1'", id="a zero before"),
        pytest.param(["01_a", "2_a", "1_b"], r"^\d+", "'01' and '1'", id="only a number"),
        pytest.param(["m10_a", "m1_b"], r"m\d+", "", id="a zero behind"),
        pytest.param(["m101_a", "m11_b"], r"m\d+", "", id="a zero within"),
        pytest.param(["m0_a", "m1_b"], r"m\d+", "", id="the number zero"),
    ],
)
def test_animals_that_differ_in_zeros(caplog, names, pattern, alike):
    """An animal 01 on one day and 1 on the next would be on both sides of a split."""
    with caplog.at_level(logging.WARNING):
        warn_of_groups(names, pattern)
    assert [text.partition(" finds the animals ")[2] for text in caplog.messages] == [
        f"{alike}, which differ only in case, spaces or leading zeros and count as 2; if "
        "they are one, rename the videos"
        for _ in filter(None, [alike])
    ]


@pytest.mark.parametrize(
    ("names", "pattern", "found"),
    [
        pytest.param(["m1", "m2", "m10"], r"m\d", "'m1' in m1 and in m10", id="the end"),
        pytest.param(["a21", "b21", "b31"], r"1$", "", id="the same animal in all"),
        pytest.param(["21_a", "31_b", "4_c"], r"\d_", "'1_' in 21_a and in 31_b", id="the start"),
        pytest.param(
            ["x12_a", "x13_b", "y"], r"x(\d)|y", "'1' in x12_a and in x13_b", id="a group"
        ),
        pytest.param(["m1_d10", "m1_d2", "m2_d1"], r"m\d", "", id="whole numbers"),
        pytest.param(["m10_a", "m10_b", "m2_a"], r"m\d", "", id="short, but of one animal"),
        pytest.param(["m1_a", "m10_a", "m2_a"], None, "", id="no pattern"),
    ],
)
def test_pattern_that_cuts_numbers_short(caplog, names, pattern, found):
    """m1 and m10 would be one animal, and all counts of animals wrong."""
    with caplog.at_level(logging.WARNING):
        warn_of_groups(names, pattern)
    cut = [text for text in caplog.messages if "cuts numbers short" in text]
    assert cut == [
        f"--group-pattern '{pattern}' cuts numbers short: it finds the animal {found}, which "
        "count as one; if they are several, match whole numbers (\\d+ instead of \\d)"
        for _ in filter(None, [found])
    ]


SIMBA = "Video,Event,Start_frame,End_frame\n"


def shared(folder, files, *videos):
    """Share out files, {name: text}; return {video: (files, problems)} and what is left over."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    paths = [folder / name for name in files]
    sources, problems = assign_label_files(paths, [*map(Path, videos)], DEFAULT_CLASS_MAP)
    return (
        {
            s.video.name: [part.path.name for part in s.labels] + [str(p) for p in s.problems]
            for s in sources
        },
        [*map(str, problems)],
    )


def test_names_with_dots_are_whole_names(tmp_path):
    """A row about mouse1.2 is not about mouse1."""
    files = {"simba.csv": SIMBA + "mouse1.2,walk,0,1\nmouse1.3.avi,walk,0,1\n"}
    videos = "mouse1.mp4", "mouse1.2.mp4", "mouse1.3.mp4"
    assert shared(tmp_path, files, *videos) == (
        {"mouse1.mp4": [], "mouse1.2.mp4": ["simba.csv"], "mouse1.3.mp4": ["simba.csv"]},
        [],
    )
    assert shared(tmp_path, files, "mouse1.mp4") == (
        {"mouse1.mp4": []},
        [
            (
                "simba.csv: scores 'mouse1.2', but there is no such video; add it, or remove its "
                "labels"
            ),
            "simba.csv: scores 'mouse1.3.avi', but there is no such video; add it, or remove its "
            "labels",
        ],
    )


@pytest.mark.parametrize("name", ["mouse1.2", "mouse1_10.mp4"])
def test_a_file_named_after_the_absent_video_that_it_names(tmp_path, name):
    """mouse1.2.csv about mouse1.2.mp4 does not become labels of mouse1.mp4."""
    files = {f"{name.removesuffix('.mp4')}.csv": SIMBA + f"{name},walk,0,1\n"}
    found, (problem,) = shared(tmp_path, files, "mouse1.mp4")
    assert found == {"mouse1.mp4": []}
    assert f"nor does the video name in it ({name!r})" in problem


def test_names_that_fit_two_videos_are_refused(tmp_path):
    """Where capitals tell videos apart, a third way to write the name says nothing."""
    files = {
        "bouts.csv": SIMBA + "MOUSE,walk,0,1\nx,walk,0,1\n",
        "MOUSE_1.csv": "Frame,Action\n0,0\n",
    }
    found, problems = shared(tmp_path, files, "mouse.mp4", "Mouse.avi", "x.mp4")
    assert found == {"mouse.mp4": [], "Mouse.avi": [], "x.mp4": ["bouts.csv"]}
    assert problems == [
        "bouts.csv: scores 'MOUSE', which may be mouse.mp4 or Mouse.avi; rename one of them",
        "MOUSE_1.csv: matches mouse.mp4 and Mouse.avi, whose names differ only in case or "
        "spaces; rename one",
    ]


def test_a_bad_part_of_a_file_concerns_its_video_only(tmp_path):
    """The other videos of the file are used."""
    header = "Observation id,Behavior,Behavior type,Time,Media file name\n"
    rows = "a,walk,START,0.0,m1.mp4\nb,walk,POINT,0.0,m2.mp4\n"
    found, problems = shared(tmp_path, {"all.csv": header + rows}, "m1.mp4", "m2.mp4")
    assert found == {
        "m1.mp4": ["all.csv:2: 'walk' at 0 s has no STOP; add it in BORIS"],
        "m2.mp4": ["all.csv"],
    }
    assert problems == []


def test_a_file_about_many_videos_is_read_once(tmp_path, monkeypatch):
    """The work grows with the file, not with the file times the videos."""
    videos = [f"m{i}.mp4" for i in range(50)]
    rows = "".join(f"{video},walk,0,1\n" for video in videos)
    read, calls = pairing.read_label_file, []

    def counted(path, *arguments):
        calls.append(path)
        return read(path, *arguments)

    monkeypatch.setattr(pairing, "read_label_file", counted)
    found, problems = shared(tmp_path, {"all.csv": SIMBA + rows}, *videos)
    assert found == {video: ["all.csv"] for video in videos}
    assert problems == []
    assert len(calls) == 1
