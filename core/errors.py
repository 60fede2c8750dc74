"""The one error a user can cause."""

import re

LONGEST = 1000


class UserError(ValueError):
    """Something the user can mend: the message is one sentence that says what is wrong and what to do.

    The command line prints it and exits with code 2; the page shows it beside the thing it is about.
    Every other exception is a defect of Satchel.

    A sentence may quote names and paths out of files that nobody vouches for: whatever they hold, it stays one line of
    characters that can be shown, and of bounded length.
    """

    def __init__(self, sentence: str) -> None:
        shown = "".join(character if character.isprintable() else " " for character in sentence[: 2 * LONGEST])
        line = " ".join(shown.split())
        super().__init__(line if len(line) <= LONGEST else f"{line[:LONGEST]} ...")


def closest(word: str, known: list[str]) -> str:
    """A hint for an unknown name: the nearest known one, or the first of which it is a part, else the list."""
    from difflib import get_close_matches

    wanted, *plain = (" ".join(re.findall(r"\w+", text.lower())) for text in (word, *known))
    near = get_close_matches(wanted, plain, n=1, cutoff=0.6)
    near += [text for text in plain if wanted and f" {wanted} " in f" {text} "]
    if near:
        return f"did you mean {known[plain.index(near[0])]!r}?"
    return f"choose one of: {', '.join(known[:12])}{', ...' if len(known) > 12 else '.'}"
