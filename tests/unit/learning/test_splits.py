"""Splits never let one animal into two parts, and hold every class where they can."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpar.errors import ConfigError, InputError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.learning.recipe import TrainConfig
from mpar.learning.splits import (
    Split,
    check_learnable,
    check_split,
    class_counts,
    kept_together,
    read_split,
    split_store,
    write_split,
)
from tests.fixtures.helpers import make_store, raises_problem

NUM_CLASSES = len(DEFAULT_CLASS_MAP.class_names)


@pytest.fixture
def store(tmp_path):
    """Ten animals with two recordings each; paw_lick and paw_shake in three animals only."""
    recordings = []
    for animal in range(10):
        labels = [0, 1, 4, 5]
        labels += [2, 3] if animal in {1, 4, 8} else []
        recordings += [(f"animal{animal}", labels), (f"animal{animal}", [0, 0, 5, -1])]
    with make_store(tmp_path / "c.h5", recordings) as opened:
        yield opened


def test_animals_of_one_picture_stay_together(store, tmp_path):
    """Tracks tell two animals of a video apart, but each is seen in the recording of the other."""
    infos = list(store.recordings)  # two of each animal, all of different videos
    whole = {"region": "0,0,16,16,a", "sha256": "1" * 64}
    infos[0] = dataclasses.replace(infos[0], **whole)
    infos[2] = dataclasses.replace(infos[2], **whole | {"region": "0,0,16,16,b"})
    apart = {"sha256": "2" * 64}
    infos[4] = dataclasses.replace(infos[4], **apart, region="0,0,8,16")
    infos[6] = dataclasses.replace(infos[6], **apart, region="8,0,8,16")
    store.recordings = tuple(infos)
    names = kept_together(store)
    assert names[:4] == ["animal0 + animal1"] * 4
    assert names[4:8] == ["animal2", "animal2", "animal3", "animal3"]
    for seed in range(20):
        split = split_store(store, val_fraction=0.2, test_fraction=0.2, seed=seed)
        (part,) = {p for p in ("train", "val", "test") if {0, 1, 2, 3} & {*split.part(p)}}
        assert {0, 1, 2, 3} <= {*split.part(part)}
    path = tmp_path / "split.csv"
    write_split(path, Split((0, 1, 4, 5), (2, 3), ()), store)
    with raises_problem("split", "split.csv"):
        read_split(path, store)


@pytest.mark.slow
@settings(max_examples=12)
@given(
    seed=st.integers(0, 50), val=st.sampled_from([0.1, 0.2, 0.3]), test=st.sampled_from([0, 0.2])
)
def test_no_animal_in_two_parts(tmp_path_factory, seed, val, test):
    """Every recording lies in exactly one part, every animal too, whatever the seed."""
    path = tmp_path_factory.mktemp("split") / "c.h5"
    with make_store(path, [(f"g{i // 3}", [i % 6, 0]) for i in range(24)]) as store:
        split = split_store(store, val_fraction=val, test_fraction=test, seed=seed)
    assert sorted(split.train + split.val + split.test) == list(range(24))
    groups = [{i // 3 for i in split.part(part)} for part in ("train", "val", "test")]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert len(groups[1]) == max(1, round(val * 8))
    assert len(groups[2]) == round(test * 8)


def test_every_part_holds_every_class_where_possible(store):
    """Rare classes that three animals show end up in all three parts, for any seed."""
    for seed in range(5):
        split = split_store(store, seed=seed)
        for part in ("train", "val", "test"):
            assert (class_counts(store, split.part(part)) > 0).all(), (seed, part)
        assert check_split(split, store) == []


@pytest.mark.slow
def test_seed_fixes_the_split(store):
    """The same seed gives the same split, another one another."""
    assert split_store(store, seed=4) == split_store(store, seed=4)
    assert len({split_store(store, seed=seed) for seed in range(8)}) > 1


def test_class_that_a_part_lacks_is_named(store):
    """A reader is told when a part cannot score a class."""
    split = Split(train=(0, 1), val=(4, 5), test=(2, 3))
    warnings = check_split(split, store)
    assert warnings[0] == "the train part has no frames of paw_lick, paw_shake"


def test_part_of_one_class_says_what_its_score_is(tmp_path):
    """A perfect macro-F1 of one class is no news."""
    with make_store(tmp_path / "c.h5", [("a", [0, 1]), ("b", [0, 0]), ("c", [0, 1])]) as store:
        warnings = check_split(Split(train=(0,), val=(1,), test=(2,)), store)
    alone = "the val part has no frames of paw_withdraw, so its macro-F1 is the F1 of rest"
    assert warnings[0] == alone
    assert warnings[1].startswith(
        "the val part lacks more than half of the classes, so mpar cannot"
    )
    assert len(warnings) == 2


@pytest.mark.parametrize(
    ("fractions", "fragment"),
    [((0, 0.2), "val_fraction above 0"), ((0.5, 0.5), "below 1"), ((-0.1, 0.2), "0 to 1")],
)
def test_bad_fractions_are_refused(store, fractions, fragment):
    """Fractions that leave nothing to train or validate on are refused."""
    with pytest.raises(ConfigError, match=fragment):
        split_store(store, val_fraction=fractions[0], test_fraction=fractions[1])


@pytest.mark.parametrize(
    ("groups", "fractions", "advice", "never"),
    [
        (
            "ab",
            (0.2, 0.2),
            "add recordings of another animal, or pass --test-fraction 0",
            "--split",
        ),
        ("ab", (0.9, 0), "lower --val-fraction$", "--test-fraction"),
        ("abcde", (0.6, 0.35), "lower --val-fraction or --test-fraction$", "--test-fraction 0"),
        ("a", (0.2, 0.2), "add recordings of another animal$", "--test-fraction"),
        ("a", (0.2, 0), "add recordings of another animal$", "--test-fraction"),
        ("aa", (0.2, 0), "another --group-pattern and --overwrite$", "--split"),
        ("", (0.2, 0), "found no labelled frame; add label files", "--"),
    ],
)
def test_too_few_animals_are_refused(tmp_path, groups, fractions, advice, never):
    """The message names what helps, and nothing that was done already or cannot."""
    recordings = [*((group, [0, 1]) for group in groups), ("blank", [-1, -1])]
    with (
        make_store(tmp_path / "c.h5", recordings) as store,
        pytest.raises(ConfigError, match=advice) as caught,
    ):
        split_store(store, val_fraction=fractions[0], test_fraction=fractions[1])
    assert never not in str(caught.value)


def test_one_class_to_learn_is_refused(tmp_path):
    """With others elsewhere, or nowhere; two classes in training are enough."""
    with make_store(tmp_path / "c.h5", [("a", [0, -1]), ("b", [0, 1]), ("c", [2, 2])]) as store:
        check_learnable(store, Split(train=(1,), val=(0,), test=()), TrainConfig())
        check_learnable(store, Split(train=(0, 2), val=(1,), test=()), TrainConfig())
        message = r"the train part has labels of only one class \(rest\), .*paw_withdraw, paw_lick;"
        with pytest.raises(ConfigError, match=message):
            check_learnable(store, Split(train=(0,), val=(1,), test=(2,)), TrainConfig())
    with make_store(tmp_path / "d.h5", [("a", [2, -1]), ("b", [2, 2])]) as store:
        with pytest.raises(ConfigError, match=r"every labelled frame is paw_lick.*--unscored "):
            check_learnable(store, Split(train=(0,), val=(1,), test=()), TrainConfig())
        store.config["unscored"] = "paw_lick"
        with pytest.raises(ConfigError, match="every frame; label frames of other classes too"):
            check_learnable(store, Split(train=(0,), val=(1,), test=()), TrainConfig())


def test_file_round_trip(store, tmp_path):
    """A written split reads back equal."""
    split = split_store(store, seed=2)
    write_split(tmp_path / "split.csv", split, store)
    assert read_split(tmp_path / "split.csv", store) == split


@pytest.mark.parametrize(
    ("rows", "line", "fragment"),
    [
        (["r0,train", "zz,val"], 3, "recording 'zz' is not in c.h5"),
        (["r0,train", "r2,validation"], 3, "part is 'validation', expected train, val or test"),
        (["r0,train", "r0,train", "r2,val"], 3, "listed twice"),
        (["r0,train", "r1,val"], 3, "found group 'animal0' in the parts train and val"),
        (["r0,train"], 0, "no recording of part val"),
    ],
    ids=["unknown recording", "unknown part", "twice", "animal in two parts", "no validation"],
)
def test_bad_split_files_are_refused(store, tmp_path, rows, line, fragment):
    """Each problem of a split file is named with its line."""
    path = tmp_path / "split.csv"
    path.write_text("Recording,Part\n" + "\n".join(rows) + "\n")
    with pytest.raises(InputError) as caught:
        read_split(path, store)
    assert any(p.line == line and fragment in p.message for p in caught.value.problems)


def test_animals_without_labels_take_no_place(tmp_path):
    """A part is never made of animals that cannot be scored."""
    recordings = [(f"g{i}", [0, 1] if i < 3 else [-1, -1]) for i in range(12)]
    with make_store(tmp_path / "c.h5", recordings) as store:
        for seed in range(3):
            split = split_store(store, seed=seed)
            assert sorted(split.train + split.val + split.test) == [0, 1, 2]


def test_names_are_read_as_people_type_them(tmp_path):
    """A name with = or spaces at its edges is found with and without what makes it safe."""
    import dataclasses

    names = ("=a", " b", "c, d", "'=a", "b", "-1")
    with make_store(tmp_path / "c.h5", [(f"g{i}", [0, 1]) for i in range(6)]) as store:
        store.recordings = tuple(
            dataclasses.replace(r, name=n) for r, n in zip(store.recordings, names, strict=True)
        )
        (tmp_path / "s.csv").write_text('Recording,Part\n=a,train\n b,val\n"c, d",test\n')
        split = Split(train=(0,), val=(1,), test=(2,))
        assert read_split(tmp_path / "s.csv", store) == split
        split = Split(train=(0, 4), val=(1, 5), test=(2, 3))
        write_split(tmp_path / "t.csv", split, store)
        assert read_split(tmp_path / "t.csv", store) == split


def test_split_file_that_is_no_csv(store, tmp_path):
    """A cell beyond every limit is a message, not a traceback."""
    (tmp_path / "s.csv").write_text("Recording,Part\n" + "x" * 200_000 + ",train\n")
    with raises_problem("malformed"):
        read_split(tmp_path / "s.csv", store)
