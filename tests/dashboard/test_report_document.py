"""A report as one file."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

from core.sat.saved_report import Report
from core.sat.whole import UNSEEN
from dashboard.report import words
from dashboard.report.document import MOST, document
from dashboard.report.finished import Finished
from dashboard.report.views import TELLING

HOSTILE = "<img src=x onerror=alert(1)>\"'"


class Parsed(HTMLParser):
    """Tags, what they load, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset") and value]

    def handle_data(self, data):
        self.text.append(data)


def test_all_of_it_is_inside_and_nothing_runs(finished):
    text = document(finished)
    parsed = Parsed(text)
    assert {"script", "link", "iframe"}.isdisjoint(parsed.tags)
    assert parsed.tags.count("img") > 10
    assert all(one.startswith("data:image/") for one in parsed.loads)
    assert "url(http" not in text
    assert "default-src 'none'" in text


def test_it_says_what_the_page_says(finished):
    told = " ".join(" ".join(Parsed(document(finished)).text).split())
    assert words.headline(finished)[0] in told
    shown = [cell for cell in finished.cells.values() if cell.verdict in TELLING]
    assert shown
    assert all(" ".join(cell.sentence.split()) in told for cell in shown[:MOST])
    assert told.count("The whole picture") == 1
    assert UNSEEN in told


def test_names_stay_names_and_many_findings_are_counted(finished):
    cells = {}
    for number in range(MOST + 3):
        for key, cell in finished.cells.items():
            cells[key[0], f"{key[1]} {number}"] = replace(
                cell, segment=f"{key[1]} {number}", verdict="suspected", shortcut=False, sentence=HOSTILE, label=HOSTILE
            )
    many = Finished(Report(finished.report.path, finished.manifest, [], finished.report.examples), cells)
    parsed = Parsed(document(many))
    assert all(one.startswith("data:image/") for one in parsed.loads)
    assert f"{len(cells) - MOST:,} more stand in the table." in parsed.text
