"""What the Explain tab's handlers do when two of them meet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from dashboard.explain_actions import Actions
from dashboard.explain_drawing import Settings, Updates
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
