"""Class maps merge codes as the lab says, and refuse what could be read two ways."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpar.errors import ConfigError
from mpar.labels.classes import DEFAULT_CLASS_MAP, MAX_CLASSES, MAX_CODE, ClassMap, agree_on

SPARSE = ClassMap(((7, "sit", "calm"), (300, "groom", "groom"), (2, "lie", "calm")))


def test_default_map_is_the_fields():
    """The codes and their order are those of the field; changing one breaks every label file."""
    assert DEFAULT_CLASS_MAP.rows == (
        (0, "rest", "rest"),
        (1, "paw_withdraw", "paw_withdraw"),
        (2, "paw_lick", "paw_lick"),
        (3, "paw_guard", "paw_withdraw"),
        (4, "paw_shake", "paw_shake"),
        (5, "flinch", "paw_withdraw"),
        (6, "walk", "walk"),
        (7, "active", "active"),
    )
    assert DEFAULT_CLASS_MAP.class_names == (
        "rest",
        "paw_withdraw",
        "paw_lick",
        "paw_shake",
        "walk",
        "active",
    )
    assert DEFAULT_CLASS_MAP.codes == tuple(range(8))
    assert DEFAULT_CLASS_MAP.merge(np.arange(-1, 8)).tolist() == [-1, 0, 1, 2, 1, 3, 1, 4, 5]


def test_codes_need_not_be_ordered_or_dense():
    """Classes follow the order of their first row, whatever the codes are."""
    assert SPARSE.class_names == ("calm", "groom")
    assert [SPARSE.class_index_of(code) for code in (2, 7, 300)] == [0, 0, 1]
    merged = SPARSE.merge(np.array([[300, 2], [-1, 7]], np.int16))
    assert merged.dtype == np.int8
    assert merged.tolist() == [[1, 0], [-1, 0]]


def test_names_stand_for_codes_and_classes():
    """A code's own name comes first; a class that is no code's name means its first code."""
    assert DEFAULT_CLASS_MAP.code_of("paw_guard") == 3
    assert DEFAULT_CLASS_MAP.code_of("paw_withdraw") == 1
    assert SPARSE.code_of("calm") == 7
    for name in ("Rest", "", "3"):
        with pytest.raises(KeyError):
            DEFAULT_CLASS_MAP.code_of(name)
    with pytest.raises(KeyError):
        SPARSE.class_index_of(3)


@pytest.mark.parametrize("codes", [[1], [301], [-2], [32767], [-32768], [7, 8, 2]])
def test_merge_refuses_unknown_codes(codes):
    """A code outside the map never becomes a class, not even by wrapping around."""
    with pytest.raises(ValueError, match="class map"):
        SPARSE.merge(np.array(codes, np.int16))


def test_merge_takes_any_shape():
    """No frames, one frame and unsigned codes are fine."""
    assert SPARSE.merge(np.zeros((2, 0), np.int16)).shape == (2, 0)
    assert SPARSE.merge(np.int16(7)).shape == ()
    assert SPARSE.merge(np.array([2, 7], np.uint8)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param([(0, "a", "a"), (0, "b", "b")], "code 0 occurs twice", id="code twice"),
        pytest.param(
            [(0, "a", "a"), (1, "a", "b")], "'a' is used by codes 0 and 1", id="name twice"
        ),
        pytest.param(
            [(0, "a", "b"), (1, "b", "c")],
            "'b' is a class but also names a code of class 'c'",
            id="name means two classes",
        ),
        pytest.param([(0, "a", "a"), (1, "b", "a")], "found 1 classes, expected 2-127", id="one"),
        pytest.param([], "found 0 classes, expected 2-127", id="none"),
        pytest.param(
            [(i, f"c{i}", f"c{i}") for i in range(MAX_CLASSES + 1)],
            "found 128 classes",
            id="more than int8 holds",
        ),
        pytest.param([(-1, "a", "a"), (1, "b", "b")], "code -1 is outside 0-32767", id="negative"),
        pytest.param(
            [(MAX_CODE + 1, "a", "a"), (1, "b", "b")], "code 32768 is outside", id="too large"
        ),
    ],
)
def test_map_that_could_be_read_two_ways_is_refused(rows, message):
    """A map is refused when it is made, with the codes and names that clash."""
    with pytest.raises(ConfigError, match=f"class map: .*{message}"):
        ClassMap(tuple(rows))


@pytest.mark.parametrize(
    "name",
    [
        "",
        " rest",
        "rest ",
        "x" * 61,
        "3",
        "3.0",
        "1,5",
        "nan",
        "NaN",
        "None",
        "null",
        "NA",
        "n/a",
        "inf",
        "=1+1",
        "+a",
        "-a",
        "@a",
        "'a",
        "a,b",
        "a;b",
        'a"b',
        "a/b",
        "a\\b",
        "a\nb",
        "a\tb",
        "a\x00b",
        "a\u202eb",
        "a\udcffb",
    ],
)
@pytest.mark.parametrize("column", ["name", "class"])
def test_name_that_files_cannot_carry_is_refused(name, column):
    """Names end up in CSV files, spreadsheets, figures and file names: all must survive."""
    rows = ((0, "a", "a"), (1, *((name, "b") if column == "name" else ("b", name))))
    with pytest.raises(ConfigError) as caught:
        ClassMap(rows)
    assert f"{name!r} cannot be a name" in str(caught.value)


def test_name_of_another_script_is_fine():
    """Labs name behaviours in their own language, with spaces."""
    assert ClassMap(((0, "repos", "repos"), (1, "léchage de patte", "足舐め"))).class_names == (
        "repos",
        "足舐め",
    )


def test_all_problems_are_told_at_once():
    """Fixing a map takes one round."""
    with pytest.raises(ConfigError) as caught:
        ClassMap(((0, "a", "a"), (0, "", "a")))
    message = str(caught.value)
    assert "code 0 occurs twice" in message
    assert "'' cannot be a name" in message
    assert "found 1 classes" in message


SIDED_ROWS = (
    (0, "rest", "rest"),
    (1, "lick_r", "right"),
    (2, "lick_l", "left"),
    (3, "shake_l", "left"),
)
SIDED = ClassMap(SIDED_ROWS, (("left", "right"), ("right", "left")))


def test_mirrored_classes():
    """Classes swap as listed, the others stay; only what is meant counts, not how it is put."""
    assert SIDED.class_names == ("rest", "right", "left")
    assert SIDED.mirror_indices == (0, 2, 1)
    assert DEFAULT_CLASS_MAP.mirror_indices == tuple(range(6))
    same = (("rest", "rest"), ("right", "left"), ("left", "right"), ("left", "right"))
    assert ClassMap(SIDED_ROWS, same) == SIDED
    assert hash(ClassMap(SIDED_ROWS, same)) == hash(SIDED)
    assert ClassMap(SIDED_ROWS) != SIDED


@pytest.mark.parametrize(
    ("mirrors", "message"),
    [
        pytest.param(
            [("left", "up"), ("down", "left")],
            "'up' occurs in a mirror pair but is not a class; 'down' occurs in",
            id="no class",
        ),
        pytest.param([("lick_l", "right")], "'lick_l' occurs in a mirror", id="name of a code"),
        pytest.param(
            [("left", "right")],
            "the mirror of 'left' is 'right', but that of 'right' is 'right'$",
            id="one way",
        ),
        pytest.param(
            [("left", "right"), ("right", "rest"), ("rest", "left")],
            "the mirror of 'left' is 'right', but that of 'right' is 'rest'",
            id="circle",
        ),
        pytest.param(
            [("left", "right"), ("left", "left"), ("right", "left")],
            "class 'left' has the mirrors 'right' and 'left'",
            id="two mirrors",
        ),
    ],
)
def test_mirrors_that_are_none_are_refused(mirrors, message):
    """Mirroring twice must give the first picture, and so the first class."""
    with pytest.raises(ConfigError, match=f"class map: .*{message}"):
        ClassMap(SIDED_ROWS, tuple(mirrors))


def test_maps_without_mirrors_are_written_as_ever():
    """Caches and checkpoints of before keep their content, and stay readable."""
    assert [*SPARSE.to_dict()] == ["rows", "responses"]
    assert ClassMap.from_dict({"rows": [[*row] for row in SPARSE.rows]}) == SPARSE
    data = json.loads(json.dumps(SIDED.to_dict()))
    assert data["mirrors"] == [["right", "left"], ["left", "right"]]
    assert ClassMap.from_dict(data) == SIDED


def test_class_map_file_with_mirrors(tmp_path):
    """The column mirror names classes; empty means that the class stays itself."""
    (tmp_path / "classes.csv").write_text(
        "code,name,class,Mirror\n0,rest,rest,\n1,lick_r,right,left\n"
        "2,lick_l,left,right\n3,shake_l,left, right\n"
    )
    assert ClassMap.from_csv(tmp_path / "classes.csv") == SIDED


names = st.sampled_from(["rest", "lick", "walk", "groom", "rear"])


@given(
    st.dictionaries(st.integers(0, MAX_CODE), names, min_size=2, max_size=12).filter(
        lambda merged: len(set(merged.values())) > 1
    )
)
def test_map_survives_json(merged):
    """A map read back from a cache or checkpoint is the same map."""
    class_map = ClassMap(tuple((code, f"code_{code}", name) for code, name in merged.items()))
    assert ClassMap.from_dict(json.loads(json.dumps(class_map.to_dict()))) == class_map
    codes = np.array([*merged, -1])
    labels = class_map.merge(codes)
    assert [class_map.class_names[i] for i in labels[:-1]] == [*merged.values()]
    assert labels[-1] == -1


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"rows": None},
        {"rows": [[0, "a"]]},
        {"rows": [[0.5, "a", "a"], [1, "b", "b"]]},
        {"rows": [[True, "a", "a"], [0, "b", "b"]]},
        {"rows": [["0", "a", "a"], [1, "b", "b"]]},
        {"rows": [[float("inf"), "a", "a"], [1, "b", "b"]]},
        {"rows": [[0, 5, "a"], [1, "b", "b"]]},
        {"rows": [[0, "a", "a"], [1, "b", "b"]], "mirrors": None},
        {"rows": [[0, "a", "a"], [1, "b", "b"]], "mirrors": ["ab", "b"]},
        {"rows": [[0, "a", "a"], [1, "b", "b"]], "mirrors": [["a", 1], [1, "a"]]},
    ],
)
def test_damaged_map_is_refused(data):
    """What another program or a bad disk made of a map is not rounded into one."""
    with pytest.raises(ConfigError, match="class map: found other data, expected"):
        ClassMap.from_dict(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"code,name,class\n7,sit,calm\n300,groom,groom\n2,lie,calm\n", id="plain"),
        pytest.param(
            b"\xef\xbb\xbfCode, Name ,CLASS\r\n\r\n7,sit,calm\r\n,,\r\n 300 ,groom, groom\r\n"
            b"2,lie,calm\r\n\r\n",
            id="mark, blanks, blank rows and Windows line ends",
        ),
        pytest.param(
            "code;name;class\n7;sit;calm\n300;groom;groom\n2;lie;calm\n".encode("utf-16"),
            id="UTF-16",
        ),
        pytest.param(b'code,name,class\r7,"sit",calm\r300,groom,groom\r2,lie,"calm"', id="old Mac"),
    ],
)
def test_class_map_file(tmp_path, data):
    """Files of a spreadsheet or an editor give the same map."""
    (tmp_path / "classes.csv").write_bytes(data)
    assert ClassMap.from_csv(tmp_path / "classes.csv") == SPARSE


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(
            b"", "classes.csv:1: found the columns '', expected code, name, class", id="empty"
        ),
        pytest.param(
            b"code:name:class\n0:a:a\n",
            "classes.csv:1: found the columns 'code:name:class', expected code, name, class",
            id="colons",
        ),
        pytest.param(
            b"code,name,class,mirror\n0,a,a,b\n1,b,b\n",
            "classes.csv:3: found 3 cells, expected 4",
            id="mirror cell missing",
        ),
        pytest.param(
            b"code,name,class\n0,a,a,b\n1,b,b,a\n",
            "classes.csv:2: found 4 cells, expected 3",
            id="mirror without a header",
        ),
        pytest.param(
            b"code,name,class,mirror\n0,a,a,b\n1,b,b,a\n2,c,a,\n",
            "classes.csv: class map: class 'a' has the mirrors 'b' and 'a'",
            id="rows of one class disagree",
        ),
        pytest.param(b"code,class,title\n", "found the columns 'code,class,title'", id="no name"),
        pytest.param(
            b"code,name,modifier,class\n0,a,,a\n1,a,l(1),b\n",
            r"classes.csv:3: the modifier 'l\(1\)' has brackets",
            id="brackets in a modifier",
        ),
        pytest.param(
            b"code,name,modifier,class\n0,a,,a\n1,a,left,b\n2,A,Left,a\n",
            "classes.csv:4: 'A' with 'Left' is also in line 3; remove one row",
            id="modifier twice",
        ),
        pytest.param(
            b"code,name,modifier,class\n0,a,,a\n1,a,,b\n",
            "classes.csv: class map: name 'a' is used by codes 0 and 1",
            id="two rows without a modifier",
        ),
        pytest.param(
            b"code,name,class\n\n0,a,a\n1,b\n",
            "classes.csv:4: found 2 cells, expected 3",
            id="cell missing, after a blank line",
        ),
        pytest.param(
            b'code,name,class\n0,"a\nb",a\nx,b,b\n',
            "classes.csv:4: found 'x,b,b'",
            id="no number, after a cell of two lines",
        ),
        pytest.param(b"code,name,class\n1.5,a,a\n", "classes.csv:2: found '1.5,a,a'", id="half"),
        pytest.param(b"code,name,class\n-1,a,a\n", "classes.csv:2: found '-1,a,a'", id="minus"),
        pytest.param(
            "code,name,class\n٣,a,a\n".encode(), "classes.csv:2: found '٣,a,a'", id="Arabic digit"
        ),
        pytest.param(
            b"code,name,class\n999999,a,a\n", "classes.csv:2: found '999999,a,a'", id="six digits"
        ),
        pytest.param(
            b"code,name,class\n0,a,a\n1,b,a\n",
            "classes.csv: class map: found 1 classes",
            id="one class",
        ),
        pytest.param(
            b"code,name,class\n0," + b"a" * 200_000 + b",a\n",
            r"classes.csv:2: is not a well-formed CSV \(field larger",
            id="endless cell",
        ),
        pytest.param(
            b"code,name,class\n0,l\xe9chage,a\n",
            "classes.csv:2: is not UTF-8 text",
            id="Latin 1",
        ),
        pytest.param(
            b"code,name,class\n0,a\x00,a\n1,b,b\n",
            "classes.csv:2: contains a NUL byte",
            id="NUL",
        ),
    ],
)
def test_class_map_file_that_is_refused(tmp_path, data, message):
    """The message names the file, and the line of a bad row."""
    (tmp_path / "classes.csv").write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        ClassMap.from_csv(tmp_path / "classes.csv")


def test_class_map_file_that_is_missing(tmp_path):
    """A wrong path is a plain message, and so is a folder."""
    for path in (tmp_path / "classes.csv", tmp_path):
        with pytest.raises(ConfigError, match=f"{path.name}: cannot be read .*; check the file"):
            ClassMap.from_csv(path)


def test_class_map_file_with_responses(tmp_path):
    """The column response says which classes count, in any place of the header."""
    (tmp_path / "classes.csv").write_text(
        "Response,code,name,class\nno,0,rest,rest\nYES,1,flinch,flinch\nyes,2,guard,flinch\n,3,walk,walk\n"
    )
    found = ClassMap.from_csv(tmp_path / "classes.csv")
    assert found.responses == ("flinch",)
    assert ClassMap.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("0,a,a,maybe\n1,b,b,\n", "classes.csv:2: found the response 'maybe', expected yes or no"),
        ("0,a,a,no\n1,b,b,yes\n2,c,b,no\n", "classes.csv:4: class 'b' is no response here"),
        ("0,a,a,no\n1,b,b,yes\n2,c,b,\n", "classes.csv:4: class 'b' is no response here"),
    ],
)
def test_responses_that_are_refused(tmp_path, rows, expected):
    """An answer is yes or no, and all rows of a class give the same one."""
    (tmp_path / "classes.csv").write_text("code,name,class,response\n" + rows)
    with pytest.raises(ConfigError, match=expected):
        ClassMap.from_csv(tmp_path / "classes.csv")


def test_responses_of_files_that_do_not_state_them():
    """Older files mean the three classes that were responses then; new ones mean what they say."""
    rows = [[0, "rest", "rest"], [1, "flinch", "flinch"], [2, "paw_lick", "paw_lick"]]
    assert ClassMap.from_dict({"rows": rows}).responses == ("paw_lick",)
    assert ClassMap.from_dict({"rows": rows, "responses": []}).responses == ()
    old = DEFAULT_CLASS_MAP.to_dict()
    del old["responses"]
    assert ClassMap.from_dict(old) == DEFAULT_CLASS_MAP
    with pytest.raises(ConfigError, match="'lick' is not a class"):
        ClassMap.from_dict({"rows": rows, "responses": ["lick"]})


def test_maps_that_differ_only_in_responses():
    """They make the same labels, so files of both go together; which classes count is then open."""
    marked = ClassMap(SPARSE.rows, responses=SPARSE.class_names[:1])
    assert marked.labels_alike(SPARSE)
    assert agree_on([marked, marked]) == marked
    assert agree_on([marked, SPARSE]) == SPARSE
    assert agree_on([marked, DEFAULT_CLASS_MAP]) is None


def test_classes_spelled_nearly_alike_are_refused():
    """Two spellings of one class would be learnt as two."""
    with pytest.raises(ConfigError, match="'Paw lick' and 'paw_lick' differ only in case"):
        ClassMap(((0, "rest", "rest"), (1, "a", "Paw lick"), (2, "b", "paw_lick")))
