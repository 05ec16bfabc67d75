"""Images that are nearly the same: candidates by perceptual hashes, confirmed by their pixels."""

import itertools

import numpy as np
from numpy.typing import NDArray

SIDE = 16
"""Of the image that a hash is computed of, in pixels."""
FREQUENCIES = 8
BANDS = 4
"""Of 16 bits: hashes that differ in fewer bits than there are bands agree in one of them."""
WINDOW = 8
"""In how many of the next hashes of a band a partner is looked for: many equal ones must not cost their square."""
MIN_CORRELATION = 0.98
SLACK = 0.05
"""By how much the correlation of small copies of two images may be below that of the images."""
MAX_DIFFERENCE = 6.0
"""Of the pixels of two images that are nearly the same, mean absolute, of 255."""
CHUNK = 4096


def near_duplicates(images: NDArray[np.uint8], digests: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of images that look the same and are not exact copies, such as one saved twice, or two frames of a video.

    Hashes tell candidates: the signs of low frequencies of the cosine transform (Zauner 2010, §3.2), in bands. What is
    found is certain; of many images with equal hashes, not every pair is found.

    Args:
        images: uint8 [N, C, S, S].
        digests: int64 [N]; equal ones are exact copies.

    Returns:
        int64 [M, 2] of rows, the first below the second, sorted.
    """
    hashes = perceptual_hashes(images)
    pairs = _candidates(hashes)
    pairs = pairs[digests[pairs[:, 0]] != digests[pairs[:, 1]]]
    kept = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    confirmed = [part[_same(images[part[:, 0]], images[part[:, 1]])] for part in kept]
    return np.concatenate(confirmed) if confirmed else np.zeros((0, 2), np.int64)


def perceptual_hashes(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """One number of 64 bits per image [N]: equal for images that differ in size, quality or brightness alone."""
    from scipy.fft import dct

    waves = dct(np.eye(SIDE, dtype=np.float32), axis=0)[:FREQUENCIES]
    found = [np.zeros(0, np.uint64)]
    for start in range(0, len(images), CHUNK):
        low = (waves @ _small(images[start : start + CHUNK]) @ waves.T).reshape(-1, FREQUENCIES**2)
        signs = low > np.median(low[:, 1:], axis=1, keepdims=True)  # the first is the mean brightness
        found.append(np.packbits(signs, axis=1).view(np.uint64)[:, 0])
    return np.concatenate(found)


def _small(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey images of `SIDE` pixels, the mean of equal squares, float32 [n, SIDE, SIDE]."""
    side = images.shape[-1]
    step = max(1, side // SIDE)
    if side % SIDE:  # the nearest pixels
        rows = np.arange(SIDE) * side // SIDE
        return images[:, :, rows][..., rows].mean(1, dtype=np.float32)
    total = np.zeros((len(images), SIDE, SIDE), np.float32)
    for channel, row, column in itertools.product(range(images.shape[1]), range(step), range(step)):
        total += images[:, channel, row::step, column::step]
    return total / (images.shape[1] * step**2)


def _candidates(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs of rows whose hashes agree in one band, int64 [M, 2]."""
    pairs = [np.zeros((0, 2), np.int64)]
    for band in range(BANDS):
        part = (hashes >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.lexsort((hashes, part))
        for step in range(1, WINDOW + 1):
            one, other = order[:-step], order[step:]
            near = (part[one] == part[other]) & (np.bitwise_count(hashes[one] ^ hashes[other]) < BANDS)
            pairs.append(np.stack([one[near], other[near]], 1))
    return np.unique(np.sort(np.concatenate(pairs), 1), axis=0)


def _same(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether images [n, C, S, S] are nearly equal, apart from brightness and contrast."""
    same = _alike(_small(one), _small(other)) >= MIN_CORRELATION - SLACK  # which is faster, and leaves few
    left = np.flatnonzero(same)
    a, b = one[left].astype(np.float32), other[left].astype(np.float32)
    difference = np.abs((a - b) - (a - b).mean((1, 2, 3), keepdims=True)).mean((1, 2, 3))
    same[left] = (_alike(a, b) >= MIN_CORRELATION) & (difference <= MAX_DIFFERENCE)
    return same


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Correlation of the pixels of each pair of images, [n]; 0 if one of them shows nothing."""
    a, b = (images.reshape(len(images), int(np.prod(images.shape[1:]))) for images in (one, other))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    lengths = np.sqrt(np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b))
    return np.asarray(np.einsum("ij,ij->i", a, b) / np.maximum(lengths, 1e-3), np.float32)
