"""What a user is told."""

from __future__ import annotations

from core.errors import LONGEST, UserError, closest


def test_a_sentence_stays_one_line_whatever_it_quotes():
    error = UserError("The name 'a\nb\x1b[31m\u2028c\ud800  d' is wrong;\tmend it.")
    assert str(error) == "The name 'a b [31m c d' is wrong; mend it."
    assert str(UserError("é 鳥 \N{BIRD}")) == "é 鳥 \N{BIRD}"


def test_a_sentence_is_of_bounded_length():
    assert len(str(UserError("x" * 1_000_000))) <= LONGEST + 4


def test_a_hint_names_what_was_meant_or_else_what_there_is():
    birds = ["finch", "Kingfisher", "tabby, tabby cat", "bee-eater"]
    assert closest("kingfischer", birds) == "did you mean 'Kingfisher'?"
    assert closest("bee eater", birds) == "did you mean 'bee-eater'?"
    assert closest("tabby", birds) == "did you mean 'tabby, tabby cat'?"
    assert closest("nosuch", birds) == "choose one of: finch, Kingfisher, tabby, tabby cat, bee-eater."
    assert closest("", ["a"] * 13).endswith("a, a, ...")
