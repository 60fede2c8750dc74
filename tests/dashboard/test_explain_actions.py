"""What the Explain tab's handlers do when two of them meet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from core.classifier import Prediction
from core.preprocessing import Geometry
from dashboard.explain.actions import Actions
from dashboard.explain.drawing import NO_CONTRAST, Drawing, Settings, Updates, class_of, class_value
from dashboard.explain.findings import finding_html
from dashboard.pictures import View
from dashboard.sessions import Session
from dashboard.words import wrong, wrong_mark
from tests.dashboard.conftest import LABELS


def test_a_picture_that_comes_into_view_while_another_is_drawn_is_shown() -> None:
    session, drawn = Session("demo:biased", current="example"), []

    class Slow:
        def picture(self, session: Session, settings: Any) -> Updates:
            drawn.append(session.current)
            if len(drawn) == 1:  # a model is loaded, and meanwhile somebody drops a picture in
                session.add(SimpleNamespace(id="upload"))
                session.current = "upload"
            return {"shown": drawn[-1]}

    actions = Actions.__new__(Actions)
    actions.draw = Slow()
    settings: Settings = SimpleNamespace()
    assert actions._picture(session, settings) == {"shown": "upload"}
    assert drawn == ["example", "upload"]
    assert actions._picture(session, settings) == {"shown": "upload"}
    assert drawn[2:] == ["upload"]


def test_a_look_at_the_tab_is_no_change_and_does_not_keep_a_first_visitor_from_maps() -> None:
    session = Session("demo:biased", current="example")
    actions = Actions.__new__(Actions)
    actions.page = SimpleNamespace(sessions=SimpleNamespace(get=lambda key: session), view=lambda session: "view")
    actions.w = SimpleNamespace(stop="stop")
    actions.draw = SimpleNamespace(usable=lambda session, settings: settings)
    actions._settings = lambda values: "settings"
    actions._settled = lambda session, settings, view: iter([(settings, view)])
    assert list(actions.look(False, "key", "target")) == [{"stop": gr.skip()}]
    assert list(actions.look(True, "key", "target")) == [("settings", "view")]
    assert (session.values, session.version) == ({}, 0)
    assert list(actions.redraw("key", "target")) == [("settings", "view")]
    assert session.values == {"rest": ("target",)}


def test_a_prediction_that_is_pressed_is_what_is_explained(small_page, session, view) -> None:
    actions = Actions.__new__(Actions)
    actions.page = small_page
    actions.w = SimpleNamespace(inputs=lambda: ["unfolded", "target", "contrast"], target="target", stop="stop")
    actions.read = lambda values, remember=True: (session, values)
    actions.aim = lambda *values: iter([{"aimed": values}])
    seen = list(actions.why(SimpleNamespace(index="3"), "visitor", False, "before", "none"))
    wanted = class_value(view, 3)
    assert seen == [{"target": wanted}, {"aimed": ("visitor", False, wanted, "none")}]
    assert list(actions.why(SimpleNamespace(index="x"), "visitor", False, "b", "c")) == [{"stop": gr.skip()}]


@pytest.mark.parametrize("back_first", [False, True])
def test_a_run_that_a_reload_cut_goes_on_whoever_is_told_first(back_first) -> None:
    """The page may be open again before the server is told that its old stream is gone."""
    session = Session("demo:biased", current="example")
    runner = SimpleNamespace(stream=lambda loaded, image, run: (name for name in ("first", "second")))
    actions = Actions.__new__(Actions)
    actions.page = SimpleNamespace(
        sessions=SimpleNamespace(get=lambda key: session), view=lambda session: SimpleNamespace(image=None),
        classifiers=SimpleNamespace(get=lambda spec: None), runner=runner,
    )  # fmt: skip
    actions.draw = SimpleNamespace(
        key=lambda *_: "key", time_a_pass=lambda *_: None, maps=lambda *_: {}, picture=lambda *_: {}
    )
    actions.w = SimpleNamespace(stop="stop", status="status", ready="ready", inputs=lambda: ())
    actions._settings = lambda values: SimpleNamespace(chosen=("gradient",))
    stream = actions.explain("visitor")
    next(stream)
    assert not session.resume
    if back_first:
        actions.open("visitor")
    stream.close()  # ty: ignore[missing-attribute]
    if not back_first:
        actions.open("visitor")
    assert session.resume


def view(picture: str = "p" * 64, model: str = "m" * 64, truth: int | None = None) -> View:
    """A picture on which a model of three classes says "bee"."""
    predictions = [Prediction(i, LABELS[i], p) for i, p in ((1, 0.7), (0, 0.2), (2, 0.1))]
    source = SimpleNamespace(id=picture, upload=False, notes=(), name="a", size=(2, 3), label=None)
    values: dict[str, Any] = dict.fromkeys(
        ("shown", "image", "geometry", "segments", "segment_geometry", "masks", "coverage")
    )
    return View(**values | {"source": source, "geometry": Geometry((4, 4), (4, 4), 1, 1, 0, 0)},
                predictions=predictions, labels=LABELS[:3], fingerprint=model, truth=truth)  # fmt: skip


def settings(target: str | None, contrast: str | None = NO_CONTRAST) -> Settings:
    return Settings((), target, contrast, 0, True, False, {})


def test_a_class_that_was_offered_for_another_picture_or_model_is_not_explained() -> None:
    """What a hidden tab still holds of the model before must not decide."""
    now = view()
    cat, dog = class_value(now, 2), class_value(now, 0)
    assert class_of(cat, now) == 2
    assert Drawing._asked(settings(cat, dog), now) == (2, 0)
    for other in (view(model="n" * 64), view(picture="q" * 64)):
        assert class_of(cat, other) is None
        assert Drawing._asked(settings(cat, dog), other) == (1, None)
    assert Drawing._asked(settings(None), now) == Drawing._asked(settings("2"), now) == (1, None)
    drawing = Drawing.__new__(Drawing)
    drawing.w = SimpleNamespace(target="why", contrast="and not")
    session = Session("tiny")
    stale = drawing._classes(session, settings(cat), view(model="n" * 64), unless_offered=True)
    assert stale["why"]["value"] == class_value(view(model="n" * 64), 1)
    assert [label for label, _ in stale["why"]["choices"]] == ["bee", "ant", "cat"]
    offered = drawing._classes(session, settings(cat), now, unless_offered=True)
    assert offered["why"] == cat
    assert [label for label, _ in offered["and not"]["choices"]] == ["nothing in particular", "bee", "ant"]
    again = drawing._classes(session, settings(cat), now, unless_offered=True)
    assert again == {"why": cat, "and not": NO_CONTRAST}


def test_no_class_is_explained_against_itself() -> None:
    now = view()
    bee, cat = class_value(now, 1), class_value(now, 2)
    assert Drawing._asked(settings(cat, bee), now) == (2, 1)
    assert Drawing._asked(settings(bee, bee), now) == (1, None)
    drawing = Drawing.__new__(Drawing)
    drawing.w = SimpleNamespace(target="why", contrast="and not")
    left = drawing._classes(Session("tiny"), settings(bee, bee), now, unless_offered=True)["and not"]
    assert left["value"] == NO_CONTRAST
    assert bee not in [value for _, value in left["choices"]]


def test_a_wrong_answer_is_called_wrong_with_words_and_a_shape() -> None:
    drawing = Drawing.__new__(Drawing)
    for truth, said in ((2, "wrong: it is a cat"), (0, "wrong: it is an ant"), (1, None), (None, None)):
        seen = view(truth=truth)
        texts = (finding_html(seen, 1, None, [], None), drawing._prediction(Session("tiny"), settings(None), seen))
        for text in texts:
            assert ("wrong" in text) == (said is not None)
            assert said is None or (said in text and "<svg" in text)
    assert wrong("Melanoma") == "wrong: it is Melanoma"
    assert "<i>" not in wrong_mark("<i>x</i>")
