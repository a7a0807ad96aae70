"""Label files are read in every dialect of the field, or refused with file and line."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpar.errors import MAX_PROBLEMS_PER_FILE, InputError
from mpar.formats.annotations import read_annotation
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from tests.fixtures.helpers import raises_problem
from tests.fixtures.synthetic import write_annotation

PLAIN = "Frame,Action\n0,0\n1,2\n2,7\n"
NOT_A_FRAME = "expected a whole number from 0; fix"
NOT_AN_ACTION = "is not in the class map (0-7 or rest, paw_withdraw, "


def read(folder, data, class_map=DEFAULT_CLASS_MAP, **kwargs):
    path = folder / "mouse_ann.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_annotation(path, class_map, **kwargs)


def accepted(id, data, codes=(0, 2, 7)):
    return pytest.param(data, list(codes), id=id)


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        accepted("plain", PLAIN),
        accepted("no newline at the end", PLAIN.rstrip()),
        accepted("UTF-8 with byte order mark", b"\xef\xbb\xbf" + PLAIN.encode()),
        accepted("UTF-16, little end first", b"\xff\xfe" + PLAIN.encode("utf-16-le")),
        accepted("UTF-16, big end first", b"\xfe\xff" + PLAIN.encode("utf-16-be")),
        accepted("UTF-16 with tabs, Excel's Unicode text", PLAIN.replace(",", "\t").encode("u16")),
        accepted("semicolons", PLAIN.replace(",", ";")),
        accepted("tabs", PLAIN.replace(",", "\t")),
        accepted("Windows line ends", PLAIN.replace("\n", "\r\n")),
        accepted("old Mac line ends", PLAIN.replace("\n", "\r")),
        accepted(
            "old Mac line ends, semicolons, comments with commas",
            "Frame;Action;Note\r0;0;a,b,c,d\r1;2;\r2;7;",
        ),
        accepted("mixed line ends", "Frame,Action\r\n0,0\n1,2\r2,7\n"),
        accepted("whole numbers as floats", "Frame,Action\n0.0,0.\n1.0,2.0\n2.00,7.000\n"),
        accepted("plus signs and leading zeros", "Frame,Action\n+0,+0\n01,002\n0002,+7\n"),
        accepted("blanks around cells", " Frame , Action \n 0 , 0\n\t1, 2 \n2\xa0,7\n"),
        accepted("columns in another order", "Action,Frame\n0,0\n2,1\n7,2\n"),
        accepted(
            "extra columns on both sides",
            "Time,Frame,Who,Action,Note\n0.00,0,ann,0,\n0.03,1,ann,2,?\n0.07,2,ann,7,=1\n",
        ),
        accepted("header in capitals", PLAIN.replace("Frame,Action", "FRAME,ACTION")),
        accepted("header in mixed case", PLAIN.replace("Frame,Action", "frame,aCTION")),
        accepted("quoted cells", '"Frame","Action"\n"0","0"\n1,"2"\n"2",7\n'),
        accepted(
            "commas in a quoted header between semicolons",
            '"Frame";"Action";"Note (a, b, c)"\n0;0;x\n1;2;x\n2;7;x\n',
        ),
        accepted("quoted newline in a comment", 'Frame,Action,Note\n0,0,"a\nb"\n1,2,\n2,7,\n'),
        accepted("quotes doubled in a comment", 'Frame,Action,Note\n0,0,"a""b"\n1,2,\n2,7,\n'),
        accepted("blank lines at the end", PLAIN + "\n\r\n  \n"),
        accepted("rows of only commas at the end", PLAIN + ",\n,\n , \n,,,\n"),
        accepted("trailing commas in every row", PLAIN.replace("\n", ",,\n")),
        accepted("one row", "Frame,Action\n0,4\n", [4]),
        accepted("names of codes", "Frame,Action\n0,paw_guard\n1,flinch\n2,rest\n", [3, 5, 0]),
        accepted("names of classes", "Frame,Action\n0,paw_withdraw\n1,walk\n2,active\n", [1, 6, 7]),
        accepted("names and codes together", "Frame,Action\n0,rest\n1,2\n2,active\n"),
        accepted("decimal commas", "Frame;Action\n0,0;0,0\n1,0;2,00\n2,0;7\n"),
        accepted("-1 and empty as unlabelled", "Frame,Action\n0,-1\n1,\n2,-1.0\n", [-1, -1, -1]),
        accepted("unlabelled in the last row", "Frame,Action\n0,0\n1,\n", [0, -1]),
        accepted(
            "predictions",
            "Frame,Action,Confidence,rest_prob\n0,rest,0.9,0.9\n1,,0.3,0.3\n",
            [0, -1],
        ),
    ],
)
def test_dialect_is_accepted_quietly(tmp_path, data, codes):
    """What programs and people write is read without a word."""
    annotation = read(tmp_path, data)
    assert annotation.codes.tolist() == codes
    assert annotation.frames.tolist() == [*range(len(codes))]
    assert annotation.codes.dtype == np.int16
    assert annotation.warnings == ()


def test_unsorted_frames_are_sorted_with_a_warning(tmp_path):
    """Every code stays with its frame, and the user hears of it."""
    annotation = read(tmp_path, "Frame,Action\n2,7\n0,0\n10,4\n9,3\n1,2\n", allow_gaps=True)
    assert annotation.frames.tolist() == [0, 1, 2, 9, 10]
    assert annotation.codes.tolist() == [0, 2, 7, 3, 4]
    assert annotation.warnings == ("its rows were out of order; mpar sorted them by frame",)


def test_names_are_read_as_people_write_them(tmp_path):
    """Capitals, blanks, _ and - do not matter where one class fits; one warning names them all."""
    annotation = read(tmp_path, "Frame,Action\n0,Rest\n1,Paw Lick\n2,PAW-LICK\n3,rest\n4,Rest\n")
    assert annotation.codes.tolist() == [0, 2, 2, 0, 0]
    assert annotation.warnings == (
        "mpar reads 'Rest' as rest, 'Paw Lick' as paw_lick, 'PAW-LICK' as paw_lick: the names "
        "differ only in case, spaces, _ or -",
    )


def test_names_that_fit_two_classes_are_refused(tmp_path):
    """A map that tells left from Left means it."""
    class_map = ClassMap(((0, "paw_lick", "left"), (1, "PawLick", "right")))
    assert read(tmp_path, "Frame,Action\n0,paw_lick\n1,PawLick\n", class_map).codes.tolist() == [
        0,
        1,
    ]
    with raises_problem("unknown-class"):
        read(tmp_path, "Frame,Action\n0,paw lick\n", class_map)


@pytest.mark.parametrize("first", [1, 15, 2**31 - 3])
def test_frames_keep_the_number_they_have(tmp_path, first):
    """Where the rows lie on the video is not for the reader to guess."""
    rows = "".join(f"{first + i},{i}\n" for i in range(3))
    annotation = read(tmp_path, "Frame,Action\n" + rows)
    assert annotation.frames.tolist() == [first, first + 1, first + 2]


def test_gaps_are_accepted_when_asked(tmp_path):
    """Predictions of every n-th frame are read; a frame that occurs twice still is not."""
    data = "Frame,Action\n0,0\n5,1\n10,2\n"
    assert read(tmp_path, data, allow_gaps=True).frames.tolist() == [0, 5, 10]
    with raises_problem("frame-numbers"):
        read(tmp_path, data + "10,2\n", allow_gaps=True)


def refused(id, data, *problems):
    return pytest.param(data, problems, id=id)


@pytest.mark.parametrize(
    ("data", "problems"),
    [
        refused("empty file", b"", (0, "is empty, expected a header Frame,Action")),
        refused("byte order mark alone", b"\xef\xbb\xbf", (0, "is empty, expected a header")),
        refused("blank lines alone", "\n\n , \n", (0, "is empty, expected a header")),
        refused("header alone", "Frame,Action\n", (0, "has no rows below its header")),
        refused("no header", "0,0\n1,2\n", (1, "found the columns '0,0', expected one Frame")),
        refused("column missing", "Frame,Behavior\n0,0\n", (1, "found the columns 'Frame,Beh")),
        refused("column missing, semicolons", "Frame;X\n0;0\n", (1, "found the columns 'Frame,X'")),
        refused("Frame twice", "Frame,Action,frame\n0,0,0\n", (1, "expected one Frame and one")),
        refused("Action twice", "Frame,Action,ACTION\n0,0,0\n", (1, "expected one Frame and one")),
        refused("columns parted by blanks", "Frame Action\n0 0\n", (1, "found the columns")),
        refused(
            "NaN as text",
            "Frame,Action\n0,nan\n1,NaN\n",
            (2, "is 'nan', expected a code"),
            (3, "is 'NaN'"),
        ),
        refused("half an action", "Frame,Action\n0,1.5\n", (2, "action '1.5' " + NOT_AN_ACTION)),
        refused("half a frame", "Frame,Action\n0,0\n1.5,0\n", (3, "'1.5', " + NOT_A_FRAME)),
        refused("action out of range", "Frame,Action\n0,0\n1,8\n", (3, "action '8' is not in")),
        refused("action below -1", "Frame,Action\n0,-2\n", (2, "action '-2' is not in")),
        refused("huge action", "Frame,Action\n0,4294967296\n", (2, "action '4294967296' is not")),
        refused(
            "number of 5,000 digits",
            f"Frame,Action\n{'9' * 5000},0\n1,{'1' * 5000}\n",
            (2, f"frame is '{'9' * 40}', expected"),
            (3, f"action '{'1' * 40}' is not"),
        ),
        refused("frame beyond 31 bits", "Frame,Action\n2147483648,0\n", (2, "frame is '21474836")),
        refused("negative frame", "Frame,Action\n-1,0\n", (2, "frame is '-1', " + NOT_A_FRAME)),
        refused("empty frame", "Frame,Action\n0,0\n,0\n", (3, "frame is '', " + NOT_A_FRAME)),
        refused("exponent", "Frame,Action\n1e3,1e0\n", (2, "frame is '1e3'")),
        refused("digits grouped", 'Frame,Action\n"1,000",0\n', (2, "frame is '1,000'")),
        refused("hexadecimal", "Frame,Action\n0x1,0\n", (2, "frame is '0x1'")),
        refused("Arabic digits", "Frame,Action\n٣,0\n1,٣\n", (2, "frame is '٣'"), (3, "'٣' is")),
        refused("superscript digit", "Frame,Action\n0,²\n", (2, "action '²' is not")),
        refused("mathematical minus", "Frame,Action\n0,−1\n", (2, "action '−1' is not")),
        refused("formula", "Frame,Action\n0,=1+1\n=ROW(),0\n", (2, "'=1+1'"), (3, "'=ROW()'")),
        refused("unknown name", "Frame,Action\n0,licking\n", (2, "action 'licking' is not")),
        refused("a name that fits no class", "Frame,Action\n0,Lick\n", (2, "action 'Lick' is not")),
        refused(
            "equal lines are counted",
            "Frame,Action\n0,a\n1,b\n2,a\n3,a\n",
            (2, "pass --class-map (3 such rows)"),
            (3, "action 'b' is not in"),
        ),
        refused(
            "seconds as frames",
            "Frame,Action\n0.000,0\n0.033,0\n0.067,2\n0.100,2\n",
            (
                3,
                "its frame is '0.033', as seconds are written, expected whole numbers from 0; ",
            ),
        ),
        refused(
            "every fifth frame",
            "Frame,Action\n0,0\n5,0\n10,2\n15,2\n",
            (0, "has a row for only one frame in 5, expected a row for every frame; add the"),
        ),
        refused(
            "an export of EthoVision",
            '"Number of header lines:";"36"\n"Trial time";"Recording time"\n',
            (1, "it looks like an EthoVision export without Trial time and Recording time"),
        ),
        refused(
            "an export of The Observer",
            "Date_Time,Behavior,Event_Type\n1,walk,State start\n",
            (1, "it looks like a table of events without times in seconds (Time_Relative_sf in"),
        ),
        refused(
            "pose data",
            "scorer,DLC,DLC\nbodyparts,nose,nose\ncoords,x,y\n0,1.0,2.0\n",
            (1, "it looks like DeepLabCut pose data, not labels; pass"),
        ),
        refused("control characters", "Frame,Action\n0,\x1b[2J\n", (2, r"action '\x1b[2J' is")),
        refused(
            "duplicate frame",
            "Frame,Action\n0,0\n1,0\n1,0\n2,0\n",
            (4, "frame 1 occurs twice (also in line 3); remove one row"),
        ),
        refused(
            "frame three times, unsorted",
            "Frame,Action\n1,0\n0,0\n1,2\n1,0\n",
            (4, "frame 1 occurs twice (also in line 2)"),
            (5, "frame 1 occurs twice (also in line 4)"),
        ),
        refused(
            "one frame missing",
            "Frame,Action\n0,0\n2,0\n",
            (3, "frame 1 is missing before this row; add them"),
        ),
        refused(
            "frames missing, unsorted",
            "Frame,Action\n9,0\n0,0\n1,0\n10,0\n",
            (2, "frames 2-8 are missing before this row"),
        ),
        refused("cell missing", "Frame,Action\n0\n1,0\n", (2, "found 1 cell, expected 2")),
        refused("cell too many", "Frame,Action\n0,0,0\n1,0\n", (2, "found 3 cells, expected 2")),
        refused("blank line in the middle", "Frame,Action\n0,0\n\n1,0\n", (3, "found 0 cells")),
        refused("commas in the middle", "Frame,Action\n0,0\n,\n1,0\n", (3, "frame is ''")),
        refused("header again", "Frame,Action\n0,0\nFrame,Action\n1,0\n", (3, "frame is 'Frame'")),
        refused(
            "row after a quoted newline",
            'Frame,Action,Note\n0,0,"a\r\nb\n\nc"\n1,x,\n',
            (6, "action 'x' is not"),
        ),
        refused(
            "row that itself holds a quoted newline",
            'Frame,Action,Note\n0,0,\n1,x,"a\nb"\n2,0,\n',
            (3, "action 'x' is not"),
        ),
        refused("quote left open", PLAIN + '3,"0\n4,0\n5,0\n', (5, "is not a well-formed CSV")),
        refused("text after a quote", PLAIN + '3,"0"1\n4,0\n', (5, "is not a well-formed CSV")),
        refused(
            "endless cell",
            f"Frame,Action\n0,0\n1,{'x' * 200_000}\n",
            (3, "is not a well-formed CSV (field larger"),
        ),
        refused("NUL", "Frame,Action\n0,0\n1,\x000\n", (3, "contains a NUL byte, expected text")),
        refused(
            "NUL, old Mac line ends", "Frame,Action\r0,0\r1,\x00\r", (3, "contains a NUL byte")
        ),
        refused("UTF-16 without a mark", PLAIN.encode("utf-16-le"), (1, "contains a NUL byte")),
        refused("UTF-32", PLAIN.encode("utf-32"), (1, "contains a NUL byte, expected text")),
        refused(
            "Latin-1", b"Frame,Action\n0,0\n1,l\xe9ch\xe9\n", (3, "is not UTF-8 text; save it")
        ),
        refused("Latin-1, old Mac line ends", b"Frame,Action\r0,0\r1,l\xe9\r", (3, "is not UTF-8")),
        refused("Latin-1 after a mark", b"\xef\xbb\xbfFrame,Action\n0,\xe9\n", (2, "is not UTF-8")),
        refused(
            "UTF-16 with half a character",
            b"\xff\xfe" + "Frame,Action\n0,0\n1,0".encode("utf-16-le") + b"\x00",
            (3, "is not UTF-8 text"),
        ),
        refused(
            "UTF-16 with half a character, big end first",
            b"\xfe\xff" + "Frame,Action\n0,\u0a0a\n1,0".encode("utf-16-be") + b"\x00",
            (3, "is not UTF-8 text"),
        ),
        refused("a workbook", b"PK\x03\x04\x14\x00\x06\x00", (0, "is a ZIP archive, such as a")),
        refused(
            "an old workbook",
            b"\xd0\xcf\x11\xe0\xa1\xb1",
            (0, "is an OLE file, such as an old Excel"),
        ),
        refused(
            "several problems",
            "Frame,Action\n5,0\n1,9\n\n5,x\n",
            (3, "action '9'"),
            (4, "found 0 cells"),
            (5, "action 'x'"),
        ),
        refused(
            "duplicate and bad row, but no gap that the bad row made",
            "Frame,Action\n0,0\n0,0\n1,x\n2,0\n",
            (3, "frame 0 occurs twice"),
            (4, "action 'x'"),
        ),
    ],
)
def test_file_is_refused_with_its_lines(tmp_path, data, problems):
    """Every problem is told with its exact line, what was found and what to do."""
    with pytest.raises(InputError) as caught:
        read(tmp_path, data)
    found = caught.value.problems
    assert [(p.path, p.line) for p in found] == [("mouse_ann.csv", line) for line, _ in problems]
    for problem, (_, message) in zip(found, problems, strict=True):
        assert message in problem.message
        assert ";" in problem.message, "says what to do"
        assert len(problem.message) < 250


@pytest.mark.parametrize(("num_bad", "num_hidden"), [(20, 0), (21, 1), (500, 480)])
def test_many_problems_are_capped_with_a_count(tmp_path, num_bad, num_hidden):
    """A file of another program does not bury the report; the rest is counted."""
    data = "Frame,Action\n" + "".join(f"{i},bad{i}\n" for i in range(num_bad))
    with pytest.raises(InputError) as caught:
        read(tmp_path, data)
    problems = caught.value.problems
    assert len(problems) == MAX_PROBLEMS_PER_FILE
    assert [p.line for p in problems] == [*range(2, 22)]
    rest = f" (and {num_hidden} more problems in this file)" if num_hidden else "--class-map"
    assert problems[-1].message.endswith(rest)
    assert not any("more problems" in p.message for p in problems[:-1])


def test_message_lists_the_maps_own_codes(tmp_path):
    """The message shows the codes of the map in use, and what to pass for another."""
    class_map = ClassMap(((2, "sit", "calm"), (9, "groom", "groom")))
    assert read(tmp_path, "Frame,Action\n0,9\n1,calm\n", class_map).codes.tolist() == [9, 2]
    with pytest.raises(InputError) as caught:
        read(tmp_path, "Frame,Action\n0,0\n", class_map)
    assert str(caught.value) == (
        "mouse_ann.csv:2: action '0' is not in the class map (2, 9 or calm, groom); "
        "fix the row or pass --class-map"
    )


def test_file_that_cannot_be_read(tmp_path):
    """A missing file and a folder are problems of the input, not crashes."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match=f"{path.name}: cannot be read .*; check the file"):
            read_annotation(path, DEFAULT_CLASS_MAP)


@st.composite
def label_files(draw):
    """Codes, and a file of them in any dialect that is accepted quietly or with a warning."""
    codes = draw(st.lists(st.integers(-1, 7), min_size=1, max_size=30))
    columns = draw(st.permutations(["frame", "action", *draw(st.sampled_from([[], ["Note"]]))]))
    change_case = draw(st.sampled_from([str, str.upper, str.title]))
    number = draw(st.sampled_from(["{}", "{}.0", "+{}", " {} ", "00{}"]))
    line_end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    # Python's writer quotes a line break only if it is one of the file's own
    two_lines = f"two{line_end}lines"
    note = draw(st.sampled_from(["", "x", "a,b;c\td", 'say "x"', "é 🐭", two_lines, "=1+1"]))
    class_names = {code: name for code, name, _ in DEFAULT_CLASS_MAP.rows}
    has_names = draw(st.booleans())
    unlabelled = draw(st.sampled_from(["-1", "", "-1.0"]))
    order = draw(st.sampled_from([range(len(codes)), draw(st.permutations(range(len(codes))))]))

    def action(code):
        if code == -1:
            return unlabelled
        return class_names[code] if has_names else number.format(code)

    buffer = io.StringIO(newline="")
    writer = csv.writer(
        buffer,
        delimiter=draw(st.sampled_from(",;\t")),
        lineterminator=line_end,
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    )
    writer.writerow([change_case(name) for name in columns])
    for i in order:
        cells = {"frame": number.format(i), "action": action(codes[i]), "Note": note}
        writer.writerow([cells[name] for name in columns])
    for _ in range(draw(st.integers(0, 2))):
        writer.writerow([""] * len(columns))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    return codes, list(order), buffer.getvalue().encode(encoding)


@given(label_files())
def test_any_dialect_reads_back_equal(case):
    """Whatever the mixture of dialects, every frame gets the code that was written for it."""
    codes, order, data = case
    with tempfile.TemporaryDirectory() as folder:
        annotation = read(Path(folder), data)
    assert annotation.codes.tolist() == codes
    assert annotation.frames.tolist() == [*range(len(codes))]
    assert bool(annotation.warnings) == (order != sorted(order))


def test_drawn_samples_read_back(tmp_path):
    """The sample's own label files are files of this format."""
    codes = np.arange(-1, 8)
    write_annotation(tmp_path / "a.csv", codes)
    np.testing.assert_array_equal(
        read_annotation(tmp_path / "a.csv", DEFAULT_CLASS_MAP).codes, codes
    )
