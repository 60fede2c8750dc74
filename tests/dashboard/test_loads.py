"""Loads in threads of their own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import UserError
from core.runtime.found_once import FoundOnce
from dashboard import loads as module
from dashboard.loads import MOST_LOADS, MOST_WAITING, Loads


def test_those_who_want_the_same_wait_for_one_load():
    loads, go, made = Loads(), threading.Event(), []

    def load(told):
        made.append(go.wait(30))
        return object()

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(loads.get, "a", "a", load) for _ in range(4)]
        while loads._waiting < 4:
            threading.Event().wait(0.01)
        go.set()
        found = {id(future.result()) for future in asked}
    assert (len(found), made) == (1, [True])
    assert loads._under_way == {}


def test_a_load_that_hangs_holds_up_no_other_and_is_given_up_on(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    loads, go = Loads(), threading.Event()
    with pytest.raises(UserError, match="Nothing has been heard of slow"):
        loads.get("slow", "slow", lambda told: go.wait(30))
    assert loads.get("quick", "quick", lambda told: 7) == 7
    with pytest.raises(UserError, match="Nothing has been heard of slow"):  # it still runs: nobody starts it twice
        loads.get("slow", "slow", lambda told: pytest.fail("was started again"))
    go.set()


def test_only_so_many_load_and_wait_at_once():
    loads, go = Loads(), threading.Event()
    with ThreadPoolExecutor(MOST_WAITING) as pool:
        asked = [pool.submit(loads.get, i % MOST_LOADS, "x", lambda told: go.wait(30)) for i in range(MOST_WAITING)]
        while loads._waiting < MOST_WAITING:
            threading.Event().wait(0.01)
        with pytest.raises(UserError, match="in a minute"):
            loads.get(0, "x", lambda told: None)
        go.set()
        assert all(future.result() for future in asked)
    assert loads.get("one more", "x", lambda told: 1) == 1


def test_what_a_load_raises_and_tells_reaches_whoever_asked():
    loads, heard = Loads(), []

    def load(told):
        told(0.5, "half")
        raise UserError("It does not fit.")

    with pytest.raises(UserError, match="It does not fit"):
        loads.get("a", "a", load, lambda fraction, text: heard.append((fraction, text)))
    assert heard == [(0.5, "half")]


def test_finding_out_about_one_classifier_holds_up_no_other(small_cnn, small_vit):
    inside, go = threading.Event(), threading.Event()

    def find(classifier):
        if classifier is small_cnn:
            inside.set()
            assert go.wait(30)
        return classifier.name

    found = FoundOnce(find)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(found, small_cnn)
        assert inside.wait(30)
        assert found(small_vit) == small_vit.name
        go.set()
        assert slow.result() == small_cnn.name
