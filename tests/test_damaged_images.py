"""What is no picture, or a damaged one, ends in a sentence."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from made_pictures import RED, encoded, png, refused, smooth
from PIL import Image

import core.images
from core.errors import UserError
from core.images import EXIF_ORIENTATION, read_picture

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_a_bomb_is_refused_before_it_is_unpacked():
    rows = zlib.compress(b"\x00" * (20_000 * 2_501), 9)  # 1-bit rows
    data = png(20_000, 20_000, 0, 1, b"\x00" * (20_000 * 2_501))
    assert len(rows) < 100_000 > len(data)
    refused(data, "has 400 megapixels", "limit is 64 megapixels", "smaller copy")
    liar = png(200_000, 200_000, 2, 8, b"\x00" * 10)
    refused(liar, "pixels", "smaller copy")
    with pytest.raises(UserError, match="limit is"):
        read_picture(encoded(Image.new("L", (2000, 1001)), "PNG"), max_pixels=2_000_000)


def tall(form: str, height: int) -> bytes:
    """A file of 20 rows whose head says another number of rows."""
    if form in ("8", "16"):
        return png(21, height, 2, int(form), (b"\0" + bytes([100]) * (21 * 3 * int(form) // 8)) * 20)
    data = bytearray(encoded(Image.new("RGB", (21, 20), RED), "TIFF", compression=form))
    (at,) = struct.unpack_from("<I", data, 4)
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], 12):
        (tag,) = struct.unpack_from("<H", data, entry)
        if tag in (257, 278):  # rows in all, and of a strip
            struct.pack_into("<HII", data, entry + 2, 4, 1, height)
    return bytes(data)


@pytest.mark.parametrize("form", ["8", "16", "raw", "tiff_deflate", "tiff_lzw"])
def test_a_head_that_promises_more_pixels_than_the_file_can_hold(form):
    assert read_picture(tall(form, 20)).size == (20, 21)
    refused(tall(form, 2_000_000), "is damaged", "21 x 2000000 pixels cannot be in")


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("colours", [0, 2, 4, 6])
def test_a_png_whose_last_rows_are_missing_is_cut_off(depth, colours):
    if depth < 8 and colours:
        return  # there are none
    width = 21
    row = b"\0" + bytes((width * depth * {0: 1, 2: 3, 4: 2, 6: 4}[colours] + 7) // 8)
    assert read_picture(png(width, 20, colours, depth, row * 20)).size == (20, width)
    refused(png(width, 20, colours, depth, row * 19), "is cut off")
    refused(png(width, 200, colours, depth, (b"\0" + b"\x77" * (len(row) - 1)) * 100), "is cut off")


@pytest.mark.parametrize("form", ["PNG", "GIF", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_a_flat_picture_may_be_packed_as_far_as_it_goes(form, mode):
    options = {"PNG": {"compress_level": 9}, "TIFF": {"compression": "tiff_lzw"}, "WEBP": {"lossless": True}}
    if (form, mode) == ("JPEG", "P"):
        pytest.skip("there is no such file")
    data = encoded(Image.new(mode, (4000, 3000)), form, **options.get(form, {"progressive": True}))
    assert read_picture(data).size == (3000, 4000)


def test_what_is_no_picture(tmp_path):
    cases = {
        "empty.jpg": (b"", "0 bytes"),
        "text.png": (b"hello, I am a text", "not a picture that Satchel reads"),
        "page.jpg": (b"<html><body>404</body></html>", "not a picture"),
        "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG drawing"),
        "drawing2.png": (b'<?xml version="1.0"?>\n<!-- -->\n<svg/>', "SVG drawing"),
        "vector.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
        "paper.pdf": (b"%PDF-1.7\n", "not a picture"),
        "zeros.png": (bytes(1000), "not a picture"),
    }
    for name, (content, words) in cases.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, name, words)
    refused(tmp_path / "missing.png", "There is no file")
    refused(tmp_path, "is a folder")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_cut_off(form):
    data = encoded(smooth((200, 150)), form)
    refused(data[: len(data) // 2], "picture")
    refused(data[:40], "picture")


def test_what_must_not_be_opened_is_not(closed, tmp_path):
    refused(closed / "inside", "Permission denied", "check its permissions")
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "a device, a pipe or a socket")
    refused(Path("/dev/zero"), "a device, a pipe or a socket")
    refused(tmp_path / "a\0b", "cannot be read")
    refused(tmp_path / ("x" * 300), "File name too long")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_damaged_files_give_a_picture_or_a_sentence(form):
    chance = random.Random(form)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    data = encoded(smooth(), form, **({"exif": exif} if form in ("JPEG", "PNG", "WEBP") else {}))
    outcomes = set()
    for turn in range(200):
        bad = bytearray(data if turn % 2 else data[: chance.randrange(1, len(data))])
        for _ in range(chance.choice((1, 2, 8))):
            # headers are where the trouble lies
            place = chance.randrange(min(len(bad), 80) if chance.random() < 0.6 else len(bad))
            bad[place] = chance.randrange(256)
        try:
            picture = read_picture(bytes(bad))
            outcomes.add("picture")
            assert picture.image.mode == "RGB"
        except UserError as error:
            outcomes.add("sentence" if "\n" not in str(error) else f"broken line: {error}")
    assert outcomes == {"picture", "sentence"}


def tiff(pages: int) -> bytes:
    """Pages of 40 x 30 pixels, each of its number's grey."""
    frames = [Image.fromarray(np.full((30, 40, 3), page, np.uint8)) for page in range(1, pages + 1)]
    return encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_damage_behind_the_first_page_costs_nothing_of_it():
    whole = tiff(3)
    first = struct.unpack("<I", whole[4:8])[0]
    link = first + 2 + 12 * struct.unpack("<H", whole[first : first + 2])[0]  # to the second page's table
    second = struct.unpack("<I", whole[link : link + 4])[0]
    rng = np.random.default_rng(0)
    for round_ in range(400):
        damaged = bytearray(whole)
        for _ in range(1 + round_ % 8):
            at = int(rng.integers(second, second + 150)) if round_ % 4 else link + int(rng.integers(4))
            damaged[at] = int(rng.integers(256))
        picture = read_picture(bytes(damaged))
        assert picture.size == (30, 40)
        assert picture.image.getextrema() == ((1, 1),) * 3
        assert picture.orientation == 1


def test_pages_are_counted_up_to_a_hundred():
    assert read_picture(tiff(100)).notes == ("Only the first of its 100 or more frames is used.",)
    assert read_picture(tiff(99)).notes == ("Only the first of its 99 frames is used.",)
    assert read_picture(tiff(1)).notes == ()


def test_strips_give_what_the_whole_gives(monkeypatch):
    """Every value of 16 bit, a ramp of floats, and half-transparent pixels, by rows and at once."""
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    ramp = np.linspace(-3, 9, 65536, dtype=np.float32).reshape(256, 256)
    clear = np.dstack([values >> 8, values & 255, values >> 8, values & 255]).astype(np.uint8)
    sources = [
        encoded(Image.fromarray(values), "PNG"),
        encoded(Image.fromarray(ramp), "TIFF"),
        encoded(Image.fromarray(values.astype(np.int32)), "TIFF"),
        encoded(Image.fromarray(clear, "RGBA"), "PNG"),
    ]
    at_once = [read_picture(source) for source in sources]
    exact = np.floor(values / 65535 * 255 + 0.5).astype(np.uint8)
    assert all((picture.array() == exact[..., None]).all() for picture in (at_once[0], at_once[2]))
    assert (at_once[1].array()[0, 0] == 0).all()
    assert (at_once[1].array()[-1, -1] == 255).all()
    white = clear[..., :3] * (clear[..., 3:] / 255) + 255 - clear[..., 3:]
    assert np.abs(at_once[3].array() - white).max() <= 1
    monkeypatch.setattr("core.images.STRIP_PIXELS", 1000)  # 3 rows, and 1 in the end
    for whole, source in zip(at_once, sources):
        read = read_picture(source)
        assert (read.array() == whole.array()).all()
        assert (read.digest, read.notes) == (whole.digest, whole.notes)
        assert read.digest == hashlib.sha256(f"{read.image.size}".encode() + read.image.tobytes()).hexdigest()


def test_large_pictures_are_read_one_at_a_time(monkeypatch):
    monkeypatch.setattr("core.images.LARGE_PIXELS", 100)
    inside, most, lock = 0, 0, threading.Lock()
    convert = core.images._upright_rgb

    def slowly(*given):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.02)
        with lock:
            inside -= 1
        return convert(*given)

    monkeypatch.setattr("core.images._upright_rgb", slowly)
    large, small = encoded(Image.new("L", (11, 11)), "PNG"), encoded(Image.new("L", (10, 10)), "PNG")
    for source, alone in ((large, True), (small, False)):
        most = 0
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(read_picture, [source] * 4))
        assert (most == 1) is alone


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_picture_of_64_megapixels_takes_no_more_than_itself():
    """124 kB on disk; in a process of its own, since a process's peak cannot be taken back."""
    script = """if True:
        import io, re, numpy as np
        from pathlib import Path
        from PIL import Image
        from core.images import read_picture
        peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
        def grey(side):
            file = io.BytesIO()
            Image.fromarray(np.zeros((side, side), np.uint16)).save(file, "PNG")
            return file.getvalue()
        small, large = grey(64), grey(8000)
        read_picture(small)
        Path("/proc/self/clear_refs").write_text("5")
        before = peak()
        assert read_picture(large).size == (8000, 8000)
        print(peak() - before)
    """
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 600  # the picture itself takes 256 MB, its 16 bit 128


def test_bmp_of_a_byte_a_pixel_in_black_and_white_is_read_as_it_is():
    inside = np.zeros((4, 10), np.uint8)
    inside[1:3, 2:7] = 1
    image = Image.frombytes("P", (10, 4), inside.tobytes())
    image.putpalette(bytes((0, 0, 0, 255, 255, 255)))
    for data in (encoded(image, "BMP"), encoded(Image.fromarray(inside > 0), "BMP")):
        assert (read_picture(data).array() == 255 * inside[..., None]).all()
