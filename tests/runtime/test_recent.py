"""What is kept is made once, however many ask at the same time."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from core.runtime.found_once import FoundOnce
from core.runtime.recent import Recent


def test_what_was_used_longest_ago_is_forgotten():
    kept: Recent[str, int] = Recent(2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert [kept.get(key) for key in "abc"] == [1, None, 3]
    assert len(kept) == 2


def test_who_asks_for_what_is_being_made_waits_and_others_do_not():
    kept: Recent[str, object] = Recent(4)
    inside, go = threading.Event(), threading.Event()

    def slow() -> object:
        inside.set()
        assert go.wait(30)
        return object()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.get_or_make, "a", slow)
        assert inside.wait(30)
        second = pool.submit(kept.get_or_make, "a", slow)
        assert kept.get_or_make("b", lambda: 2) == 2
        assert kept.get("a") is None
        inside.clear()
        go.set()
        assert first.result() is second.result() is kept.get("a")
        assert not inside.is_set()


def test_what_could_not_be_made_is_tried_again():
    kept: Recent[str, int] = Recent(4)
    with pytest.raises(ZeroDivisionError):
        kept.get_or_make("a", lambda: 1 // 0)
    assert kept.get_or_make("a", lambda: 5) == 5


@pytest.mark.slow
def test_what_was_found_out_is_forgotten_with_its_classifier():
    class Thing:
        """Stands for a classifier."""

    asked: list[str] = []
    found = FoundOnce(lambda thing: asked.append("asked") or len(asked))
    one, other = cast("Any", Thing()), cast("Any", Thing())
    assert (found(one), found(one), found(other)) == (1, 1, 2)
    still = weakref.ref(one)
    del one
    gc.collect()
    assert still() is None
