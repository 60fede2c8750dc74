"""Ending work from outside."""

from __future__ import annotations

import threading

import pytest

from core.runtime.interrupt import Interrupted, check, interruptible


def test_work_ends_at_its_next_check_once_it_is_unwanted() -> None:
    stop, done = threading.Event(), []

    def work() -> None:
        for step in range(5):
            check()
            done.append(step)
            if step == 2:
                stop.set()

    with interruptible(stop.is_set), pytest.raises(Interrupted):
        work()
    assert done == [0, 1, 2]
    work()  # outside nobody interrupts it
    assert len(done) == 8


def test_another_thread_is_left_alone() -> None:
    found = []
    with interruptible(lambda: True):
        thread = threading.Thread(target=lambda: found.append(check()))
        thread.start()
        thread.join()
    assert found == [None]
