"""What a page keeps of its visitors, and how large its caches grow."""

from __future__ import annotations

import gradio as gr
import pytest
from gradio import state_holder

from core.runtime.recent import Recent
from dashboard.memory import LeanState, give_back, keep_visitors_lean


def test_of_a_visitor_gradio_keeps_states_and_changed_components_but_no_values():
    with gr.Blocks() as blocks:
        state, box = gr.State(3), gr.HTML("x")
    keep_visitors_lean()
    kept = state_holder.SessionState(blocks)
    assert isinstance(kept, LeanState)
    assert kept[state._id] == 3
    kept[state._id] = 4
    kept._update_value_in_config(box._id, "y" * 10_000)
    kept[box._id] = box
    assert kept[state._id] == 4
    assert kept[box._id] is box
    assert kept.config_values == {}
    assert list(kept.components) == []
    assert "y" * 10_000 not in repr(vars(kept))


def test_a_cache_may_be_bounded_by_the_sizes_of_what_it_keeps():
    kept: Recent[int, bytes] = Recent(100, len)
    for key in range(5):
        kept.put(key, bytes(40))
    assert [kept.get(key) is not None for key in range(5)] == [False, False, False, True, True]
    kept.put(9, bytes(1000))  # the newest is kept in any case
    assert [kept.get(key) is not None for key in (3, 4, 9)] == [False, False, True]


@pytest.mark.slow
def test_giving_memory_back_works_on_every_system(monkeypatch):
    give_back()
    monkeypatch.setattr("dashboard.memory._libc", lambda: None)
    give_back()
