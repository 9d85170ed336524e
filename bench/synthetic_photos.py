"""Synthetic pictures of test digits, as people upload them: enlarged, inverted, printed, lit, photographed, saved.

Each scene makes the bytes of a picture file from an image uint8 [28, 28], light ink on a dark ground, and a random
generator. The names of the scenes are rows of the published table, and seed the generator in bench/picture_accuracy.py:
with another name a scene gives slightly other figures.
"""

import math
from collections.abc import Callable
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageDraw, ImageFilter, ImageOps

Pixels = npt.NDArray[np.uint8]
Random = np.random.Generator
Scene = Callable[[Pixels, Random], bytes]
Resampling = Image.Resampling

ORIENTATIONS = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""EXIF orientations, and the rotation of the stored pixels that each of them undoes."""


def scenes() -> dict[str, Scene]:
    """All scenes by name."""
    return (
        {"as it is, normalised again": lambda image, _: encode(Image.fromarray(image))}
        | {"inverted": lambda image, _: encode(invert(Image.fromarray(image)))}
        | {f"{factor} times as large": _enlarged(factor) for factor in (3, 10, 40)}
        | {"10 times as large, in squares": lambda image, _: encode(enlarge(image, 10, Resampling.NEAREST))}
        | {"half as large": lambda image, _: encode(Image.fromarray(image).reduce(2))}
        | {f"in a corner of a {side} pixel page": _placed_on_page(side) for side in (60, 500)}
        | {"3 times as large on a 2000 pixel page": _enlarged_on_large_page}
        | {"blue ink on yellow paper": _coloured((240, 220, 130), (40, 60, 160))}
        | {"red ink on green paper as light": _coloured((80, 190, 80), (220, 110, 90))}
        | {"pale ink: 40 of 255 grey levels": _coloured((200, 200, 200), (160, 160, 160))}
        | {f"a lamp on one side: {percent} % of its light": _lit(percent / 100) for percent in (40, 20)}
        | {"a shadow across": lambda image, random: encode(add_shadow(dark_on_page(image, 8, 40), random))}
        | {"JPEG of quality 30": lambda image, _: encode_jpeg(dark_on_page(image, 8, 0), 30)}
        | {"JPEG of quality 30, 28 pixels": lambda image, _: encode_jpeg(invert(Image.fromarray(image)), 30)}
        | {"turned by EXIF": _rotated_by_exif}
        | {"16 bits": lambda image, _: encode(_to_16bit(255 - np.asarray(enlarge(image, 4)), 257))}
        | {"12 bits of 16": lambda image, _: encode(_to_16bit(np.asarray(enlarge(image, 4)), 16))}
        | {
            "black on nothing (alpha)": _on_transparent_ground(0),
            "white on nothing (alpha)": _on_transparent_ground(255),
        }
        | {f"noise of {level} grey levels": _noisy(level) for level in (20, 40)}
        | {"ruled paper": lambda image, random: encode(add_ruled_lines(dark_on_page(image, 8, 40), random, 140))}
        | {"ruled in black": lambda image, random: encode(add_ruled_lines(dark_on_page(image, 8, 40), random, 60))}
        | {"drawn by a hairline of 1/120": lambda image, _: encode(redraw(image, 0))}
        | {"drawn by a felt pen": lambda image, _: encode(redraw(image, 13))}
        | {"cropped to the ink": lambda image, _: encode(crop_to_ink(dark_on_page(image, 6, 0)))}
        | {"specks": lambda image, random: encode(add_specks(dark_on_page(image, 8, 60), random))}
        | {"a photo: lamp, blur, noise, JPEG 60": lambda image, random: photograph(dark_on_page(image, 10, 90), random)}
    )


def encode(picture: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    """The picture as the bytes of a file."""
    file = BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def encode_jpeg(picture: Image.Image, quality: int) -> bytes:
    """The picture as a JPEG file of this quality."""
    return encode(picture, "JPEG", quality=quality)


def invert(picture: Image.Image) -> Image.Image:
    """Swap dark and light."""
    return ImageOps.invert(picture)


def enlarge(image: Pixels, factor: int, resampling: Resampling = Resampling.BICUBIC) -> Image.Image:
    """Scale an image [28, 28] to sides of 28 * `factor` pixels."""
    return Image.fromarray(image).resize((factor * 28, factor * 28), resampling)


def dark_on_page(image: Pixels, factor: int, margin: int) -> Image.Image:
    """Dark ink on a white page: the image enlarged and inverted, with a margin in pixels."""
    return ImageOps.expand(invert(enlarge(image, factor)), margin, 255)


def place_on_page(picture: Image.Image, side: int, random: Random) -> Image.Image:
    """Paste the picture at a random position of a square black page."""
    page = Image.new("L", (side, side))
    left, top = (int(random.integers(0, side - length + 1)) for length in picture.size)
    page.paste(picture, (left, top))
    return page


def add_lamp(picture: Image.Image, random: Random, darkest: float) -> Image.Image:
    """Light the picture from a random side; the far side gets the share `darkest` of the light."""
    width, height = picture.size
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width) - 0.5
    angle = random.uniform(0, 2 * math.pi)
    distance = math.cos(angle) * columns + math.sin(angle) * rows
    light = 1 - (1 - darkest) * (distance - distance.min()) / np.ptp(distance)
    return Image.fromarray(np.round(shade(picture, light)).astype(np.uint8))


def shade(picture: Image.Image, light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The pixels of a picture of mode L or RGB under a light [H, W] from 0 to 1: float64 [H, W] or [H, W, 3]."""
    pixels = np.asarray(picture)
    return pixels * (light if pixels.ndim == 2 else light[..., None])


def add_shadow(picture: Image.Image, random: Random) -> Image.Image:
    """Darken one side of a random line to 55 %, with an edge about 3 % of the width wide."""
    width, height = picture.size
    rows, columns = np.mgrid[0:height, 0:width]
    angle, offset = random.uniform(0, 2 * math.pi), random.normal(0, 0.1 * width)
    distance = math.cos(angle) * (columns - width / 2) + math.sin(angle) * (rows - height / 2) + offset
    light = 0.55 + 0.45 / (1 + np.exp(-distance / (0.03 * width)))
    return Image.fromarray(shade(picture, light).astype(np.uint8))


def add_noise(picture: Image.Image, random: Random, level: float) -> Image.Image:
    """Add Gaussian noise with a standard deviation of `level` grey levels."""
    pixels = np.asarray(picture)
    return Image.fromarray(np.clip(pixels + random.normal(0, level, pixels.shape), 0, 255).astype(np.uint8))


def add_ruled_lines(picture: Image.Image, random: Random, level: int) -> Image.Image:
    """Draw four or five nearly horizontal lines of this grey level across the picture."""
    ruled, (width, height) = picture.copy(), picture.size
    gap = height // 4
    for top in range(int(random.integers(0, gap)), height, gap):
        line = [(0, top), (width, top + int(random.integers(-3, 4)))]
        ImageDraw.Draw(ruled).line(line, fill=level, width=max(1, height // 150))
    return ruled


def add_specks(picture: Image.Image, random: Random) -> Image.Image:
    """Add fifteen black squares with sides of 1 to 3 pixels."""
    pixels = np.array(picture)
    for _ in range(15):
        side, top, left = random.integers(1, 4), *(random.integers(0, length - 4) for length in pixels.shape)
        pixels[top : top + side, left : left + side] = 0
    return Image.fromarray(pixels)


def crop_to_ink(picture: Image.Image) -> Image.Image:
    """Crop to the bounding box of all pixels darker than half."""
    return picture.crop(invert(picture).point(lambda level: 255 * (level > 127)).getbbox())


def redraw(image: Pixels, pen: int) -> Image.Image:
    """Draw the skeleton in black on white, 120 pixels high, with a square pen of 1 + 2 `pen` pixels, not smoothed."""
    skeleton = thin(np.asarray(enlarge(image, 6)) > 127)
    ink = Image.fromarray(np.where(np.pad(skeleton, pen), 255, 0).astype(np.uint8))
    return invert(ImageOps.expand(ink.filter(ImageFilter.MaxFilter(2 * pen + 1)) if pen else ink, 20, 0))


def thin(ink: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Reduce the ink to its skeleton, bool [height, width].

    Zhang and Suen, "A fast parallel algorithm for thinning digital patterns" (1984).
    """
    neighbours = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))  # clockwise from above
    height, width = ink.shape
    while True:
        before = ink
        for first, second in (((0, 2, 4), (2, 4, 6)), ((0, 2, 6), (0, 4, 6))):
            padded = np.pad(ink, 1)
            near = [padded[top : top + height, left : left + width] for top, left in neighbours]
            count = np.sum(near, axis=0)
            transitions = np.sum([~near[index] & near[(index + 1) % 8] for index in range(8)], axis=0)
            border = ~np.logical_and.reduce([near[index] for index in first])
            border &= ~np.logical_and.reduce([near[index] for index in second])
            ink = ink & ~((count >= 2) & (count <= 6) & (transitions == 1) & border)
        if (ink == before).all():
            return ink


def photograph(picture: Image.Image, random: Random) -> bytes:
    """The page as a phone's camera sees it under a lamp: less contrast, uneven light, blur, noise; a JPEG file."""
    pale = Image.fromarray((255 - 0.8 * (255.0 - np.asarray(picture))).astype(np.uint8))
    blurred = add_lamp(pale, random, 0.5).filter(ImageFilter.GaussianBlur(picture.width / 250))
    return encode_jpeg(add_noise(blurred, random, 6), 60)


def _enlarged(factor: int) -> Scene:
    return lambda image, _: encode(enlarge(image, factor))


def _placed_on_page(side: int) -> Scene:
    return lambda image, random: encode(place_on_page(Image.fromarray(image), side, random))


def _enlarged_on_large_page(image: Pixels, random: Random) -> bytes:
    return encode(place_on_page(enlarge(image, 3), 2000, random))


def _coloured(paper: tuple[int, int, int], pen: tuple[int, int, int]) -> Scene:
    def scene(image: Pixels, _: Random) -> bytes:
        ink = np.asarray(enlarge(image, 6), np.float32)[..., None] / 255
        return encode(Image.fromarray(np.round(np.array(paper) * (1 - ink) + np.array(pen) * ink).astype(np.uint8)))

    return scene


def _lit(darkest: float) -> Scene:
    return lambda image, random: encode(add_lamp(dark_on_page(image, 8, 0), random, darkest))


def _noisy(level: float) -> Scene:
    return lambda image, random: encode(add_noise(dark_on_page(image, 8, 0), random, level))


def _to_16bit(pixels: Pixels, scale: int) -> Image.Image:
    return Image.fromarray(pixels.astype(np.uint16) * scale)


def _on_transparent_ground(grey: int) -> Scene:
    def scene(image: Pixels, _: Random) -> bytes:
        alpha = enlarge(image, 5)
        return encode(Image.merge("LA", (Image.new("L", alpha.size, grey), alpha)))

    return scene


def _rotated_by_exif(image: Pixels, random: Random) -> bytes:
    orientation = int(random.choice(list(ORIENTATIONS)))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    rotated = dark_on_page(image, 6, 0).transpose(ORIENTATIONS[orientation])
    return encode(rotated, "JPEG", quality=90, exif=exif)
