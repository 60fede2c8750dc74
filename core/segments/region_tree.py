"""A picture's regions, small ones joined into larger ones step by step, by colour, texture and the edges between them.

Agglomerative merging of superpixels over a region adjacency graph (Salembier & Garrido, Binary Partition Tree, TIP
2000; what is compared is much as in Uijlings et al., Selective Search, IJCV 2013). Nothing is learned. The weights were
chosen on 25 photos on which people had drawn regions; docs/sam.md says what it reaches on others.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

SIDE = 512  # pixels a side, at most, over which is cut
SMALLEST = 400  # about how many regions to begin with
FEWEST, MOST = 4, 12  # how many a picture is cut into by itself: a handful, though people draw 4 to 24 in most photos
COST = 16.0  # joining goes on as long as the cheapest join costs no more
FLAT = 2.0  # what costs no more is one region, however few are left
# of what tells two neighbours apart: distance in Lab, in texture, of histograms of both, and the edge between them
COLOUR, TEXTURE, HISTOGRAM, EDGE = 1.0, 3.0, 10.0, 1.0
ENCLOSED = 0.8  # how much cheaper it is to join what lies wholly within another
SIZE = 0.15  # the power of the smaller one's share of the picture: small ones are joined first
SPECK = 0.004  # of the picture: below that a region's joins cost less and less
WINDOW = 15  # pixels a side over which texture is looked at


@dataclass(frozen=True, eq=False)
class RegionTree:
    """Attributes:
    base: [h, w] of numbers from 0 on, the smallest regions, over at most SIDE pixels a side.
    joins: (into, which, cost), one fewer than there are regions, from the first join to the last.
    """

    base: np.ndarray
    joins: tuple[tuple[int, int, float], ...]

    @property
    def fitting(self) -> int:
        """How many regions the picture asks for: joined until the next join costs too much."""
        count = min(MOST, len(self.joins) + 1)
        while count > 1:
            cost = self.joins[-(count - 1)][2]
            if cost > FLAT and (cost > COST or count <= FEWEST):
                break
            count -= 1
        return count

    def labels(self, count: int = 0) -> np.ndarray:
        """[h, w] of numbers from 1 on: that many regions (all there are, where that is fewer), 0: as many as fit."""
        count = count or self.fitting
        into = np.arange(len(self.joins) + 1)
        for kept, gone, _ in self.joins[: max(0, len(self.joins) + 1 - count)]:
            into[into == gone] = kept
        return np.unique(into[self.base], return_inverse=True)[1].reshape(self.base.shape) + 1

    def around(self, x: float, y: float) -> list[np.ndarray]:
        """Every region that holds a place (as fractions of width and height), bool [h, w], from the smallest on."""
        height, width = self.base.shape
        own = int(self.base[min(int(y * height), height - 1), min(int(x * width), width - 1)])
        of = {number: [number] for number in range(len(self.joins) + 1)}
        found = [of[own]]
        for kept, gone, _ in self.joins:
            of[kept] = of[kept] + of.pop(gone)
            if own in (kept, gone):  # the region that holds the place, by now
                own = kept
                found.append(of[own])
        return [np.isin(self.base, numbers) for numbers in found]


def region_tree(pixels: np.ndarray) -> RegionTree:
    """Of a picture [H, W, 3] of bytes; the same picture gives the same tree."""
    from PIL import Image
    from skimage.color import rgb2lab
    from skimage.segmentation import slic

    height, width = pixels.shape[:2]
    shrink = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    if shrink < 1:
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    lab = rgb2lab(pixels / 255.0).astype(np.float32)
    cut = slic(pixels, n_segments=SMALLEST, compactness=8, sigma=1, start_label=0)
    base = np.unique(cut, return_inverse=True)[1].reshape(cut.shape)
    return _Merging(base, lab).tree()


@dataclass
class _Region:
    """One that is left. Sums over its pixels, and its borders: neighbour -> (pixels, sum of edges)."""

    pixels: float
    means: list[np.ndarray]  # sums of what is compared by distance
    histogram: np.ndarray
    borders: dict[int, tuple[float, float]] = field(default_factory=dict)
    changed: int = 0  # how often, so that costs from before are known as old


class _Merging:
    """All regions, joined from the cheapest pair on."""

    def __init__(self, base: np.ndarray, lab: np.ndarray) -> None:
        self.base = base
        texture = _texture(lab[..., 0])
        bins = _bins(lab, texture)
        count, self.total = int(base.max()) + 1, base.size
        area = np.bincount(base.ravel(), minlength=count)
        colours, textures, histograms = (_sums(base, values, count) for values in (lab, texture, bins))
        self.regions = {
            n: _Region(float(area[n]), [COLOUR * colours[n], TEXTURE * textures[n]], HISTOGRAM * histograms[n])
            for n in range(count)
        }
        _note_borders(self.regions, base, _edges(lab))

    def tree(self) -> RegionTree:
        regions, joins = self.regions, []
        heap = [self._offer(n, m) for n, own in regions.items() for m in own.borders if n < m]
        heapq.heapify(heap)
        while heap:
            cost, n, m, at_n, at_m = heapq.heappop(heap)
            one, other = regions.get(n), regions.get(m)
            if one is None or other is None or (one.changed, other.changed) != (at_n, at_m):
                continue
            joins.append((n, m, cost))
            self._join(n, m)
            for neighbour in regions[n].borders:
                heapq.heappush(heap, self._offer(*sorted((n, neighbour))))
        return RegionTree(self.base, tuple(joins))

    def _offer(self, n: int, m: int) -> tuple[float, int, int, int, int]:
        one, other = self.regions[n], self.regions[m]
        length, edges = one.borders[m]
        apart = EDGE * edges / length
        for a, b in zip(one.means, other.means):
            apart += float(np.linalg.norm(a / one.pixels - b / other.pixels))
        a, b = one.histogram / one.pixels, other.histogram / other.pixels
        apart += float(((a - b) ** 2 / (a + b + 1e-5)).sum())
        around = min(sum(length for length, _ in own.borders.values()) for own in (one, other))
        apart *= 1 - ENCLOSED * length / around
        share = one.pixels * other.pixels / (one.pixels + other.pixels) / self.total
        apart *= share**SIZE * min(1.0, min(one.pixels, other.pixels) / self.total / SPECK)
        return apart, n, m, one.changed, other.changed

    def _join(self, n: int, m: int) -> None:
        one, other = self.regions[n], self.regions.pop(m)
        one.pixels += other.pixels
        one.means = [a + b for a, b in zip(one.means, other.means)]
        one.histogram = one.histogram + other.histogram
        one.changed += 1
        del one.borders[m]
        for neighbour, (length, edges) in other.borders.items():
            if neighbour == n:
                continue
            known = one.borders.get(neighbour, (0.0, 0.0))
            its = self.regions[neighbour].borders
            one.borders[neighbour] = its[n] = (known[0] + length, known[1] + edges)
            del its[m]


def _texture(lightness: np.ndarray) -> np.ndarray:
    """[H, W, 4]: how strongly lightness changes down and across, at two scales, around each pixel.

    By a median, which passes over a lone edge, so that what lies along a region's border is not another texture.
    """
    import cv2
    from scipy.ndimage import gaussian_filter

    changes = [np.abs(gaussian_filter(lightness, s, order=o)) for s in (1.0, 2.0) for o in ((0, 1), (1, 0))]
    bytes_ = [(12 * change).clip(0, 255).astype(np.uint8) for change in changes]
    return np.stack([cv2.medianBlur(one, WINDOW).astype(np.float32) / 12 for one in bytes_], -1)


def _edges(lab: np.ndarray) -> np.ndarray:
    """[H, W]: how strongly colour changes at each pixel."""
    from scipy.ndimage import gaussian_gradient_magnitude

    return np.sum([gaussian_gradient_magnitude(lab[..., c], 1.5) for c in range(3)], axis=0)


def _bins(lab: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """[H, W, K]: each pixel's part in histograms of lightness, both colours and the four textures."""
    planes = [(lab[..., 0], 0, 100.0, 12), (lab[..., 1], -40, 40.0, 12), (lab[..., 2], -40, 40.0, 12)]
    planes += [(np.log1p(texture[..., c]), 0, 2.5, 8) for c in range(texture.shape[-1])]
    return np.concatenate([_shared_out(*plane) for plane in planes], -1)


def _shared_out(values: np.ndarray, low: float, high: float, count: int) -> np.ndarray:
    """[H, W] -> [H, W, count]: each pixel lies in the two nearest bins, by how near they are."""
    at = np.clip((values - low) / (high - low), 0, 1) * (count - 1)
    first = np.minimum(at.astype(int), count - 2)[..., None]
    second = (at[..., None] - first).astype(np.float32)
    bins = np.zeros((*values.shape, count), np.float32)
    np.put_along_axis(bins, first, 1 - second, -1)
    np.put_along_axis(bins, first + 1, second, -1)
    return bins


def _sums(base: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """[count, K]: of [H, W, K] over each region."""
    flat = base.ravel()
    return np.stack([np.bincount(flat, values[..., k].ravel(), count) for k in range(values.shape[-1])], 1)


def _note_borders(regions: dict[int, _Region], base: np.ndarray, edges: np.ndarray) -> None:
    """Who lies beside whom, along how many pixels, and how strong the edges there are."""
    count = len(regions)
    pairs: Sequence[tuple[np.ndarray, ...]] = (
        (base[:, :-1], base[:, 1:], np.maximum(edges[:, :-1], edges[:, 1:])),
        (base[:-1], base[1:], np.maximum(edges[:-1], edges[1:])),
    )
    keys, strengths = [], []
    for one, other, strength in pairs:
        beside = one != other
        keys.append((np.minimum(one, other) * count + np.maximum(one, other))[beside])
        strengths.append(strength[beside])
    found, at = np.unique(np.concatenate(keys), return_inverse=True)
    lengths, sums = np.bincount(at), np.bincount(at, np.concatenate(strengths))
    for key, length, total in zip(found.tolist(), lengths.tolist(), sums.tolist()):
        n, m = divmod(key, count)
        regions[n].borders[m] = regions[m].borders[n] = (float(length), float(total))
