"""The collector is paused for a block, whoever else has it paused, and comes back as it was."""

from __future__ import annotations

import gc

from core.runtime.collecting import collector_paused


def test_it_comes_back_once_nobody_needs_it_paused():
    assert gc.isenabled()
    with collector_paused():
        assert not gc.isenabled()
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_where_it_was_off_it_stays_off():
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
