"""CVAT's XML."""

from __future__ import annotations

import numpy as np
import pytest

from core.segments.files import open_segments

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'


def opened(tmp_path, body: str, head: str = HEAD):
    path = tmp_path / "annotations.xml"
    path.write_text(f"{head}<annotations><version>1.1</version><meta/>{body}</annotations>", encoding="utf-8")
    return open_segments(path)


def image(*shapes: str, name: str = "train/a b.jpg", size: str = 'width="8" height="6"') -> str:
    return f'<image id="0" name="{name}" {size}>{"".join(shapes)}</image>'


def grid(mask: np.ndarray) -> list[str]:
    return ["".join(".#"[int(v)] for v in row) for row in mask]


def test_every_shape_that_has_an_area(tmp_path):
    files = opened(
        tmp_path,
        image(
            '<polygon label="beak" points="2.00,1.00;6.00,1.00;6.00,4.00;2.00,4.00" z_order="1">'
            '<attribute name="side">left</attribute></polygon>',
            '<box label="eye &amp; &lt;lid&gt;" xtl="2" ytl="1" xbr="6" ybr="4" occluded="0"/>',
            '<mask label="wing" rle="1, 2, 1, 2" left="3" top="2" width="3" height="2"/>',
            '<ellipse label="tail" cx="4" cy="3" rx="2" ry="1"/>',
            '<tag label="good" source="manual"/><points label="claw" points="1,1;2,2"/>',
            '<polyline label="claw" points="1,1;2,2"/><points label="claw" points="1,1"/>',
        ),
    )
    segments = files["train/a b.jpg"]
    assert segments.size == (6, 8)
    assert segments.names == ("beak", "eye & <lid>", "wing", "tail")
    square = np.zeros((6, 8), bool)
    square[1:4, 2:6] = True
    assert np.array_equal(segments.masks[0], square)
    assert np.array_equal(segments.masks[1], square)
    # runs go along the rows of the box: .## / .##
    assert grid(segments.masks[2])[2:4] == ["....##..", "....##.."]
    assert grid(segments.masks[3])[1:5] == ["........", "..####..", "..####..", "........"]
    assert segments.notes == ("Shapes without an area were left out (2 points, 1 polyline).",)


def test_boxes_and_ellipses_are_turned_about_their_middle(tmp_path):
    segments = opened(
        tmp_path,
        image(
            '<box label="a" xtl="1" ytl="2" xbr="7" ybr="4" rotation="90.00"/>',
            '<ellipse label="b" cx="4" cy="3" rx="3" ry="1" rotation="90"/>',
        ),
    )["train/a b.jpg"]
    assert grid(segments.masks[0]) == ["...##..."] * 6
    assert grid(segments.masks[1]) == ["...##..."] * 6


def test_masks_over_the_border_and_shapes_beyond_it(tmp_path):
    segments = opened(
        tmp_path,
        image(
            '<mask label="a" rle="0, 4" left="7" top="5" width="2" height="2"/>',
            '<mask label="b" rle="0, 4" left="-1" top="-1" width="2" height="2"/>',
            '<box label="c" xtl="20" ytl="20" xbr="30" ybr="30"/>',
        ),
    )["train/a b.jpg"]
    assert segments.names == ("a", "b")
    assert segments.masks.nonzero() == (pytest.approx([0, 1]), pytest.approx([5, 0]), pytest.approx([7, 0]))
    assert segments.notes == ("Empty masks were left out (c).",)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ('<polygon label="a" points="1,2;x,3;4,5"/>', "no numbers"),
        ('<polygon label="a" points="1,2;3;4,5"/>', "polygon"),
        ('<polygon label="a"/>', "polygon"),
        ('<box label="a" xtl="1" ytl="inf" xbr="2" ybr="3"/>', "no numbers"),
        ('<box label="a" xtl="1" ytl="1" xbr="2" ybr="3" rotation="inf"/>', "box"),
        ('<ellipse label="a" cx="nan" cy="1" rx="2" ry="3"/>', "no numbers"),
        ('<mask label="a" rle="1, 2" left="0" top="0" width="3" height="2"/>', "do not fill"),
        ('<mask label="a" rle="0, 99999999999999999999" left="0" top="0" width="3" height="2"/>', "whole numbers"),
        ('<mask label="a" rle="4" left="0" top="0" width="90000" height="90000"/>', "fits no picture"),
        ('<mask label="a" rle="" left="0" top="0" width="1" height="1"/>', "mask"),
        ('<mask label="a" rle="1" left="inf" top="0" width="1" height="1"/>', "mask"),
        (f'<box label="{"x" * 10_000}" xtl="1" ytl="1" xbr="2" ybr="3"/>', "limit is 200"),
    ],
)
def test_shapes_that_cannot_be(shape, words, tmp_path, refused):
    refused(lambda: opened(tmp_path, image(shape))["train/a b.jpg"], words, "train/a b.jpg", "annotations.xml")


def test_pictures_without_a_size(tmp_path, refused):
    refused(lambda: opened(tmp_path, image(size=""))["train/a b.jpg"], "width and a height")
    refused(lambda: opened(tmp_path, image(size='width="8" height="x"'))["train/a b.jpg"], "width and a height")


def test_files_that_are_not_of_this_kind(tmp_path, refused):
    refused(lambda: opened(tmp_path, image() + image()), "train/a b.jpg", "twice")
    refused(lambda: opened(tmp_path, '<track id="0" label="a"><box frame="0"/></track>'), "video", "for images")
    refused(lambda: opened(tmp_path, "<image>"), "no whole XML file")
    path = tmp_path / "annotation.xml"
    path.write_text("<annotation><object/></annotation>")
    refused(lambda: open_segments(path), "no CVAT annotation file", "<annotation>")
    path.write_bytes(b"\xff\xfe\x00<")
    refused(lambda: open_segments(path), "no whole XML file")
    for encoding in ("shift_jis", "foo"):
        path.write_text(f'<?xml version="1.0" encoding="{encoding}"?><annotations/>')
        refused(lambda: open_segments(path), "no whole XML file", "in UTF-8")


def test_entities_are_never_expanded(tmp_path, refused):
    bomb = HEAD + '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    refused(lambda: opened(tmp_path, "&b;", bomb), "document type")
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    outside = HEAD + f'<!DOCTYPE x [<!ENTITY a SYSTEM "{secret.as_uri()}">]>'
    refused(lambda: opened(tmp_path, "&a;", outside), "document type")
    refused(lambda: opened(tmp_path, "", HEAD + '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">'), "document type")
    refused(lambda: opened(tmp_path, "&b;"), "no whole XML file")
