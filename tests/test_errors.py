"""What a user is told."""

from __future__ import annotations

from core.errors import LONGEST, UserError


def test_a_sentence_stays_one_line_whatever_it_quotes():
    error = UserError("The name 'a\nb\x1b[31m\u2028c\ud800  d' is wrong;\tmend it.")
    assert str(error) == "The name 'a b [31m c d' is wrong; mend it."
    assert str(UserError("é 鳥 \N{BIRD}")) == "é 鳥 \N{BIRD}"


def test_a_sentence_is_of_bounded_length():
    assert len(str(UserError("x" * 1_000_000))) <= LONGEST + 4
