"""What the Explain tab's handlers do when two of them meet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr

from dashboard.explain.actions import Actions
from dashboard.explain.drawing import Settings, Updates
from dashboard.sessions import Session


def test_a_picture_that_comes_into_view_while_another_is_drawn_is_shown_with_its_own_target() -> None:
    session, drawn = Session("demo:biased", current="example"), []

    class Slow:
        def picture(self, session: Session, settings: Any, keep_target: bool) -> Updates:
            drawn.append((session.current, keep_target))
            if len(drawn) == 1:  # a model is loaded, and meanwhile somebody drops a picture in
                session.add(SimpleNamespace(id="upload"))
                session.current = "upload"
            return {"shown": drawn[-1][0]}

    actions = Actions.__new__(Actions)
    actions.draw = Slow()
    settings: Settings = SimpleNamespace()
    assert actions._picture(session, settings, keep_target=True) == {"shown": "upload"}
    assert drawn == [("example", True), ("upload", False)]
    assert actions._picture(session, settings, keep_target=True) == {"shown": "upload"}
    assert drawn[2:] == [("upload", True)]


def test_a_look_at_the_tab_is_no_change_and_does_not_keep_a_first_visitor_from_maps() -> None:
    session = Session("demo:biased", current="example")
    actions = Actions.__new__(Actions)
    actions.page = SimpleNamespace(sessions=SimpleNamespace(get=lambda key: session), view=lambda session: "view")
    actions.w = SimpleNamespace(stop="stop")
    actions._settings = lambda values: "settings"
    actions._settled = lambda session, settings, view: iter([(settings, view)])
    assert list(actions.look(False, "key", False, "target")) == [{"stop": gr.skip()}]
    assert list(actions.look(True, "key", False, "target")) == [("settings", "view")]
    assert (session.values, session.version) == ({}, 0)
    assert list(actions.redraw("key", False, "target")) == [("settings", "view")]
    assert session.values == {"rest": ("target",)}
