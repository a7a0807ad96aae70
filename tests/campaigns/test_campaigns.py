"""The short forms of the reliability campaigns, and proof that each of them can fail."""

import pytest

from tests.campaigns import cases
from tests.campaigns.campaigns import CAMPAIGNS
from tests.campaigns.findings import TARGETS, found_once
from tests.campaigns.forks import UnavailableError

pytestmark = pytest.mark.campaign

# 2 and 8 train many times, which takes minutes; test_train.py has their shortest cases
IN_SUITE = [campaign for campaign in CAMPAIGNS if campaign.number not in (2, 8)]
PLANTS = [
    pytest.param(campaign, plant, id=f"{campaign.number} {plant}")
    for campaign in IN_SUITE
    for plant in campaign.plants
]


@pytest.mark.parametrize("campaign", IN_SUITE, ids=lambda campaign: str(campaign.number))
def test_campaign_finds_nothing_bad(campaign, tmp_path):
    """No wrong data without a word, traceback, signal, hang, or lost work."""
    try:
        verdicts = list(campaign.verdicts(0, campaign.short, tmp_path))
    except UnavailableError as error:
        pytest.skip(str(error))
    assert len(verdicts) >= max(1, campaign.short)
    assert [verdict for verdict in verdicts if verdict.bad] == []


@pytest.mark.parametrize(("campaign", "plant"), PLANTS)
def test_campaign_turns_red_without_a_protection(campaign, plant, tmp_path):
    """The same campaign finds the fault that is planted."""
    try:
        verdicts = campaign.verdicts(0, campaign.short, tmp_path, plant)
        assert any(verdict.bad for verdict in verdicts)
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("target", "path"), [pytest.param(*item, id=item[1].name) for item in found_once()]
)
def test_what_fuzzing_found_stays_mended(target, path):
    """Each of these files was once read wrongly, or ended in a traceback."""
    judge, _ = TARGETS[target]
    assert judge(path.read_bytes()) == ""


@pytest.mark.parametrize("target", TARGETS)
def test_fuzzing_begins_with_what_is_right(target):
    """The judge that fuzzing uses has no fault to find in sound files, and finds one in others."""
    judge, seeds = TARGETS[target]
    assert [judge(data) for data in seeds()] == ["" for _ in seeds()]


def test_fuzzing_finds_a_reader_that_guesses(monkeypatch):
    """The judge of label files turns red when frames are rounded."""
    monkeypatch.setattr("mpar.formats.annotations._parse_frame", lambda cell: int(float(cell)))
    judge, _ = TARGETS["labels"]
    with pytest.raises(ValueError, match="is no label file"):
        judge(b"Frame,Action\n0,1\n1.5,1\n")


def die(case):
    """Judge a case by dying, hanging, raising or telling, as it says."""
    import os
    import time

    return {
        "die": lambda: os.abort(),
        "hang": lambda: time.sleep(60),
        "raise": lambda: 1 / 0,
        "tell": lambda: "wrong",
        "good": lambda: "",
    }[case]()


def test_a_case_that_kills_or_hangs_its_judge_is_bad_and_the_next_one_is_judged():
    """Every way to fail is told apart, and none ends the campaign."""
    names = ["good", "die", "good", "hang", "good", "raise", "tell", "good"]
    verdicts = list(cases.judged(die, [(name, name) for name in names], timeout_seconds=3))
    assert [verdict.case for verdict in verdicts] == names
    found = [verdict.bad for verdict in verdicts]
    assert found[0] == found[2] == found[4] == found[7] == ""
    assert "the process died with code" in found[1]
    assert found[3] == "hung for 3 s"
    assert "ZeroDivisionError" in found[5]
    assert found[6] == "wrong"
