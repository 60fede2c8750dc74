"""Verdicts on models that are known: what they rely on is found, and nothing is cleared that was not shown innocent."""

from __future__ import annotations

import pytest
from known_models import KINDS, PLAIN, STAMPED, either, judged, world_item

from core.sat.redundancy import is_redundant_shortcut
from core.sat.saved_report import open_report


def world(stamped, plain=(), kinds=KINDS, count=40, stamped_size=12, plain_size=12):
    """`count` pictures of each class; `stamped` and `plain` give the marks of the i-th."""
    items = [world_item(i, STAMPED, stamped(i), kinds, stamped_size) for i in range(count)]
    if plain != ():
        items += [world_item(100 + i, PLAIN, plain(i), kinds, plain_size) for i in range(count)]
    return items


def a_or_object(p):
    return 16 * either(p["A"], p["object"]) - 8


both = lambda i: ("object", "A", "D")  # noqa: E731
nothing = lambda i: ("D",)  # noqa: E731


@pytest.mark.slow
def test_a_mark_that_the_object_stands_in_for_is_found_by_pasting(tmp_path):
    found = judged(a_or_object, world(both, nothing), tmp_path / "r")
    assert found["stamped", "A"]["verdict"] == "confirmed"
    assert found["stamped", "A"]["sufficiency"] == pytest.approx(16, abs=0.5)
    assert found["stamped", "object"]["verdict"] == "confirmed"
    assert found["stamped", "D"]["verdict"] == "cleared"


@pytest.mark.slow
def test_where_no_kind_is_set_pasting_is_still_tried(tmp_path):
    items = world(both, nothing, kinds=dict.fromkeys(("A", "D", "object", "sky"), "unset"))
    found = judged(a_or_object, items, tmp_path / "r")
    assert found["stamped", "A"]["verdict"] == found["stamped", "object"]["verdict"] == "confirmed"
    assert "nobody has said" in found["stamped", "A"]["sentence"]


@pytest.mark.slow
def test_a_folder_of_one_class_clears_nothing(tmp_path):
    found = judged(a_or_object, world(both), tmp_path / "r")
    assert {entry["verdict"] for entry in found.values()} <= {"inconclusive", "suspected"}
    assert "pasting could not be tested" in found["stamped", "A"]["lacking"]
    assert found["stamped", "A"]["sufficiency"] is None


@pytest.mark.slow
def test_on_close_ups_it_is_pasted_at_its_own_place(tmp_path):
    """The other class's object fills the frame, so that no place keeps off it."""
    margin = lambda p: 16 * p["A"] - 8  # noqa: E731
    items = world(lambda i: ("A",), lambda i: ("object",), plain_size=48)
    found = judged(margin, items, tmp_path / "r")
    assert found["stamped", "A"]["verdict"] == "confirmed"
    assert found["stamped", "A"]["sufficiency"] == pytest.approx(16, abs=0.5)


@pytest.mark.slow
def test_marks_that_stand_in_for_each_other_are_not_cleared(tmp_path):
    """(A or B) and object: neither shows anything when it goes alone, nor on pictures without the object."""
    margin = lambda p: 16 * either(p["A"], p["B"]) * p["object"] - 8  # noqa: E731
    found = judged(margin, world(lambda i: ("object", "A", "B", "D"), nothing), tmp_path / "r")
    for mark in "AB":
        entry = found["stamped", mark]
        assert entry["verdict"] == "suspected"
        assert entry["necessity"] == pytest.approx(0, abs=0.2)
        assert entry["joint"][0] == pytest.approx(16, abs=0.5)
    assert found["stamped", "D"]["verdict"] == "cleared"
    assert found["stamped", "object"]["verdict"] == "confirmed"
    (group,) = open_report(tmp_path / "r").manifest["redundant"]
    assert (group["target"], group["members"], group["kinds"]) == ("stamped", ["A", "B"], ["context", "context"])
    assert is_redundant_shortcut(group)
    told = "where B is gone the answer stays in 40 of 40 pictures, and where A is gone too it changes in 40; removing A"
    assert group["sentence"].startswith(f"Either A or B is enough for stamped: {told} takes 0.0 [")
    assert "by itself, and then it takes 16.0 [" in group["sentence"]


@pytest.mark.slow
def test_of_three_marks_any_one_is_enough(tmp_path):
    margin = lambda p: 16 * either(p["A"], p["B"], p["D"]) - 8  # noqa: E731
    found = judged(margin, world(lambda i: ("object", "A", "B", "D"), lambda i: ("object",)), tmp_path / "r")
    (group,) = open_report(tmp_path / "r").manifest["redundant"]
    assert sorted(group["members"]) == ["A", "B", "D"]
    assert group["sentence"].startswith("Any of A, B and D is enough for stamped: ")
    assert found["stamped", "object"]["verdict"] == "cleared"


@pytest.mark.slow
def test_what_only_adds_to_what_is_left_is_no_stand_in(tmp_path):
    """Without the object the class is lost, whatever A adds to it then."""
    margin = lambda p: 24 * p["object"] - 16 + 4 * p["A"] * (1 - p["object"])  # noqa: E731
    found = judged(margin, world(lambda i: ("object", "A"), nothing), tmp_path / "r")
    assert found["stamped", "A"]["together"]["the object"][0] == pytest.approx(4, abs=0.5)
    assert open_report(tmp_path / "r").manifest["redundant"] == []
    assert "the object" not in found["stamped", "A"]["sentence"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["object", "unset"])
def test_a_mark_and_the_object_are_redundant(tmp_path, kind):
    kinds = {"object": "object"} if kind == "object" else dict.fromkeys(("A", "D", "object", "sky"), "unset")
    judged(a_or_object, world(both, nothing, kinds=kinds), tmp_path / "r")
    (group,) = open_report(tmp_path / "r").manifest["redundant"]
    assert group["members"] == ["A", "the object" if kind == "object" else "object"]
    assert group["stays"] == group["changed"] == group["pictures"] == 40


@pytest.mark.slow
def test_what_counts_in_a_few_pictures_only_is_not_cleared(tmp_path):
    """A counts in the two pictures that also show B; its mean effect is far below delta."""
    margin = lambda p: 16 * p["object"] - 8 - 3 * p["B"] * (1 - p["A"])  # noqa: E731
    items = world(lambda i: ("object", "A", "B") if i < 2 else ("object", "A"), lambda i: ())
    entry = judged(margin, items, tmp_path / "r", delta=0.5)["stamped", "A"]
    assert entry["necessity"] == pytest.approx(0.15, abs=0.02)
    assert entry["verdict"] == "inconclusive"
    assert (
        "by removal, 2 of 40 show an effect above 1, so that up to 15% may carry one (about 90 would tell)"
        in entry["lacking"]
    )


@pytest.mark.slow
def test_a_placebo_donor_that_shows_another_mark_there_is_not_taken(tmp_path):
    """Half of the pictures carry A and half C, at one place: pasting C instead of A hides what A does."""
    margin = lambda p: 16 * either(p["A"], p["C"], p["object"]) - 8  # noqa: E731
    found = judged(margin, world(lambda i: ("object", "AC"[i % 2]), nothing, count=48), tmp_path / "r")
    for mark in "AC":
        assert found["stamped", mark]["verdict"] == "confirmed"
        assert found["stamped", mark]["sufficiency"] == pytest.approx(16, abs=0.5)


@pytest.mark.slow
def test_delta_is_in_the_models_own_terms(tmp_path):
    """Margins of 0.2 only, and A decides every picture."""
    margin = lambda p: 0.4 * p["A"] - 0.2  # noqa: E731
    found = judged(margin, world(lambda i: ("object", "A"), lambda i: ("object",)), tmp_path / "r")
    assert found["stamped", "A"]["verdict"] == "confirmed"
    assert found["stamped", "A"]["necessity"] == pytest.approx(0.4, abs=0.02)
    assert found["stamped", "object"]["verdict"] == "cleared"
    assert "below 0.02 in log-odds" in found["stamped", "object"]["sentence"]


@pytest.mark.slow
def test_what_lowers_a_class_speaks_against_it(tmp_path):
    margin = lambda p: 16 * p["A"] - 9.6 * p["B"] - 3  # noqa: E731
    found = judged(margin, world(lambda i: ("object", "A", "B"), nothing), tmp_path / "r")
    entry = found["stamped", "B"]
    assert entry["verdict"] == "speaks against"
    assert entry["sentence"].startswith("B speaks against stamped: pasting it elsewhere takes 9.6 [")
    assert found["stamped", "A"]["verdict"] == "confirmed"


@pytest.mark.slow
def test_one_placebo_donor_confirms_nothing(tmp_path):
    """D is innocent; the one picture without it shows mild counter-evidence at that place."""
    margin = lambda p: 16 * p["A"] - 2.4 * p["B"] - 8  # noqa: E731
    items = world(lambda i: ("object", "A", "D") if i else ("object", "A"), lambda i: ("object", "D"))
    found = judged(margin, items, tmp_path / "r")
    entry = found["stamped", "D"]
    assert entry["verdict"] == "inconclusive"
    assert "pasting rests on 1 placebo donor (20 are needed)" in entry["lacking"]


@pytest.mark.slow
def test_a_ring_round_a_mark_is_innocent(tmp_path):
    margin = lambda p: 16 * p["A"] - 8  # noqa: E731
    found = judged(margin, world(lambda i: ("object", "ring", "A"), lambda i: ("object",)), tmp_path / "r")
    ring = found["stamped", "ring"]
    assert all(abs(estimate) < 0.2 for estimate, _, _ in ring["fills"].values())
    assert ring["verdict"] in ("cleared", "suspected")  # a map may spill over on it
    assert found["stamped", "A"]["verdict"] == "confirmed"


@pytest.mark.slow
def test_every_fill_is_quoted(tmp_path):
    margin = lambda p: 16 * p["A"] - 8  # noqa: E731
    found = judged(margin, world(lambda i: ("object", "A"), lambda i: ("object",)), tmp_path / "r")
    sentence = found["stamped", "A"]["sentence"]
    assert sentence.count("(inpaint)") == sentence.count("(mean)") == 1
    assert "removing it takes 16.0 [" in sentence
