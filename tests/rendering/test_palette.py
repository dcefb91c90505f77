"""Colours of types: in order, readable, and begun again when they run out."""

from __future__ import annotations

from itertools import combinations

from constrained_ner.rendering.palette import LETTERS, PALETTE, colours_of

# Machado, Oliveira, Fernandes 2009: how linear RGB looks to full protanopes and deuteranopes.
PROTANOPIA = (
    (0.152286, 1.052583, -0.204868),
    (0.114503, 0.786281, 0.099216),
    (-0.003882, -0.048116, 1.051998),
)
DEUTERANOPIA = (
    (0.367322, 0.860646, -0.227968),
    (0.280085, 0.672501, 0.047413),
    (-0.011820, 0.042940, 0.968881),
)


def linear(colour: str) -> list[float]:
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def luminance(colour: str) -> float:
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))


def lab(rgb: list[float]) -> tuple[float, float, float]:
    """CIE L*a*b* of linear RGB under D65."""
    matrix = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.9505, 1.0, 1.089)
    xyz = [
        sum(m * c for m, c in zip(row, rgb, strict=True)) / w for row, w in zip(matrix, white, strict=True)
    ]
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def seen(colour: str, matrix: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    rgb = [sum(m * c for m, c in zip(row, linear(colour), strict=True)) for row in matrix]
    return lab([min(max(c, 0.0), 1.0) for c in rgb])


def test_types_get_colours_in_order_and_share_them_beyond_the_palette() -> None:
    types = [f"type{n}" for n in range(len(PALETTE) + 2)]
    assert list(colours_of(types).values()) == [*PALETTE, *PALETTE[:2]]
    assert colours_of(["drug", "group", "drug"]) == {"drug": PALETTE[0], "group": PALETTE[1]}
    assert colours_of([]) == {}


def test_letters_are_readable_on_every_colour() -> None:
    for colour in PALETTE:
        contrast = (luminance(colour) + 0.05) / (luminance(LETTERS) + 0.05)
        assert contrast >= 7  # WCAG 2, level AAA


def test_the_first_colours_differ_in_colour_blind_eyes() -> None:
    for matrix in (PROTANOPIA, DEUTERANOPIA):
        for one, other in combinations(PALETTE[:4], 2):
            distance = (
                sum((a - b) ** 2 for a, b in zip(seen(one, matrix), seen(other, matrix), strict=True)) ** 0.5
            )
            assert distance > 15  # 2 is a just noticeable difference
