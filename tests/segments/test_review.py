"""The review queue: what is asked first, what an answer does, and two who answer at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from parts import NAMES, draw, examples, parts_data

from core.errors import UserError
from core.segments.naming.review import Review, diverse
from core.segments.naming.spread import name_dataset
from core.segments.saved.records import mask_key
from core.segments.saved.store import StaleError, Store


def opened(folder, count: int = 6, by: str = "Anna") -> Review:
    """The queue over pictures whose masks of "0" and "1" have names already."""
    data, store = parts_data(count), Store(folder, by=by)
    for seed in ("0", "1"):
        if store.load(seed) is None:
            store.save(seed, examples(int(seed))[seed], None, "from a file")
    review = Review(data, store)
    steps = list(review.gather())
    assert (steps[-1].done, steps[-1].total) == (count, count)
    return review


def true_name(question) -> str:
    masks = draw(int(question.picture))[1]
    return next(s.name for s in masks if mask_key(s.mask) == question.key)


def segment_of(record, question):
    return next(s for s in record.segments if mask_key(s.mask) == question.key)


def test_the_doubtful_come_first_and_not_ten_times_the_same():
    doubt = np.array([0.9, 0.89, 0.88, 0.5, 0.1])
    places = np.array([[0.0], [0.0], [0.05], [3.0], [9.0]])
    assert diverse(doubt, places, 3) == [0, 3, 4]
    assert diverse(doubt, places, 99) == [0, 3, 4, 2, 1]
    assert diverse(np.array([0.2, 0.2]), np.array([[0.0], [5.0]]), 1) == [0]
    assert diverse(np.zeros(0), np.zeros((0,)), 5) == []


def test_questions_are_about_what_is_open(tmp_path):
    review = opened(tmp_path)
    asked = review.questions(99)
    assert len(asked) == review.left == 12
    assert {question.picture for question in asked} == {"2", "3", "4", "5"}
    assert [question.name for question in asked] == [true_name(question) for question in asked]
    for question in asked:
        likely = [question.confidence, *(confidence for _, confidence in question.others)]
        assert likely == sorted(likely, reverse=True)
        assert {question.name, *(name for name, _ in question.others)} == set(NAMES)
    assert review.questions(1)[0] == min(asked, key=lambda question: question.confidence)


@pytest.mark.slow
def test_every_answer_is_saved_with_where_it_came_from(tmp_path):
    review = opened(tmp_path)
    first, second, third = review.questions(3)
    accepted = segment_of(review.accept(first), first)
    assert (accepted.name, accepted.naming, accepted.confidence) == (first.name, "accepted", first.confidence)
    corrected = segment_of(review.correct(second, "  cloud "), second)
    assert (corrected.name, corrected.naming, corrected.confidence) == ("cloud", "typed", None)
    record = review.reject(third)
    assert segment_of(record, third).name == ""
    assert third.key in record.nameless
    assert review.left == 9
    assert not {first, second, third} & set(review.questions(99))
    again = opened(tmp_path)
    assert (again.left, again.questions(99)) == (9, review.questions(99))
    with pytest.raises(UserError, match="at least one letter"):
        review.correct(review.questions(1)[0], " ")


@pytest.mark.slow
def test_an_answer_teaches_at_once(tmp_path):
    """All bars are really called "perch": one correction and the others are, too."""
    review = opened(tmp_path, count=8)
    for seed in ("0", "1"):
        record = review.store.load(seed)
        bare = replace(record.segments.items[2], name="", naming="")
        review.store.save(seed, replace(record.segments, items=(*record.segments.items[:2], bare)), record, "")
        review.look_again(seed)
    bars = [q for q in review.questions(99) if true_name(q) == "bar"]
    assert len(bars) == 8
    assert max(q.confidence for q in bars) < 0.5  # never seen
    review.correct(bars[0], "perch")
    now = [q for q in review.questions(99) if true_name(q) == "bar"]
    assert {q.name for q in now} == {"perch"}
    assert min(q.confidence for q in now) > 0.5


@pytest.mark.slow
def test_what_was_rejected_is_not_asked_again_in_another_picture(tmp_path):
    review = opened(tmp_path, count=8)
    for seed in ("0", "1"):
        record = review.store.load(seed)
        bar = record.segments.items[2]
        items = (*record.segments.items[:2], replace(bar, name="", naming=""))
        keys = frozenset({mask_key(bar.mask)})
        review.store.save(seed, replace(record.segments, items=items), record, "", nameless=keys)
        review.look_again(seed)
    asked = review.questions(99)
    doubts = {q: doubt for q, doubt, _ in review._open}
    bars = [q for q in asked if true_name(q) == "bar"]
    assert max(q.confidence for q in bars) < 0.5
    assert max(doubts[q] for q in bars) < 0.5
    list(review.write())
    assert review.store.load("5").segments.names == ("behind", "disc", "")


@pytest.mark.slow
def test_answers_are_taken_back(tmp_path):
    review = opened(tmp_path)
    assert review.take_back() is None
    before = review.questions(99)
    for question in review.questions(2):
        review.correct(question, "cloud")
    review.reject(review.questions(1)[0])
    for _ in range(3):
        record = review.take_back()
    assert (review.questions(99), review.left) == (before, 12)
    assert set(record.segments.names) == {""}
    assert not record.nameless
    question = before[0]
    saved = review.accept(question)
    other = Store(tmp_path, by="Ben")
    changed = tuple(replace(s, name="Ben's", naming="typed") for s in saved.segments)
    other.save(question.picture, replace(saved.segments, items=changed), saved, "typed Ben's")
    with pytest.raises(StaleError, match="has Ben's by now; somebody else was first"):
        review.take_back()


@pytest.mark.slow
def test_two_who_review(tmp_path):
    anna, ben = opened(tmp_path, by="Anna"), opened(tmp_path, by="Ben")
    one, *others = [q for q in anna.questions(99) if q.picture == "3"]
    anna.accept(one)
    ben.accept(others[0])  # another mask of the same picture
    record = anna.store.load("3")
    assert {segment_of(record, q).naming for q in (one, others[0])} == {"accepted"}
    with pytest.raises(StaleError, match=f"mask of 3 has {one.name} by now; somebody else"):
        ben.correct(one, "cloud")
    assert ben.left == 10
    assert ben.store.load("3") == record
    # a mask that somebody has cut in two is no question any more
    rest = tuple(s for s in record.segments if mask_key(s.mask) != others[1].key)
    ben.store.save("3", replace(record.segments, items=rest), record, "deleted a mask")
    with pytest.raises(UserError, match="not there any more"):
        anna.accept(others[1])
    assert anna.left == 9


@pytest.mark.slow
def test_writing_saves_what_is_proposed_now(tmp_path):
    review = opened(tmp_path)
    review.accept(review.questions(1)[0])
    assert [step.done for step in review.write()] == [1, 2, 3, 4, 5, 6]
    tally = review.store.tally(6)
    assert (tally.named, tally.proposed) == (2, 4)
    # the same as naming the whole data set at once, but for whom it is signed by
    records = [review.store.load(str(seed)) for seed in range(6)]
    list(name_dataset(parts_data(6), Store(tmp_path)))
    assert [review.store.load(str(seed)).segments for seed in range(6)] == [record.segments for record in records]


def test_nothing_has_a_name(tmp_path):
    with pytest.raises(UserError, match="No mask has a name yet"):
        list(Review(parts_data(2), Store(tmp_path)).gather())


def test_two_proposed_names_on_one_mask_are_two_questions(tmp_path):
    data, store = parts_data(3), Store(tmp_path)
    store.save("0", examples(0)["0"], None, "from a file")
    masks = draw(2)[1]
    twice = [replace(masks.items[0], name=name, naming="proposed", confidence=0.5) for name in NAMES[:2]]
    store.save("2", replace(masks, items=(*twice, *masks.items[1:])), None, "proposed")
    review = Review(data, store)
    list(review.gather())
    key = mask_key(twice[0].mask)
    first, second = sorted((q for q in review.questions(99) if q.key.startswith(key)), key=lambda q: q.key)
    review.reject(first)
    record = review.correct(second, "cloud")
    assert [segment.name for segment in record.segments.items[:2]] == ["", "cloud"]
    assert key in record.nameless
    assert not {first, second} & {*review.questions(99)}


def test_an_answer_is_taken_back_after_its_name_got_a_kind(tmp_path):
    review = opened(tmp_path)
    (question,) = review.questions(1)
    assert segment_of(review.accept(question), question).kind == "unset"
    review.store.set_kind(question.name, "context")
    assert segment_of(review.take_back(), question).name == ""
