"""What people do to a digit before they upload it: scale, invert, print, light, photograph, save.

Each scene takes an image uint8 [28, 28], light on dark, and a random generator, and gives the bytes of a file.
"""

import math
from collections.abc import Callable
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageOps

Pixels = npt.NDArray[np.uint8]
Random = np.random.Generator
Scene = Callable[[Pixels, Random], bytes]
Filter = Image.Resampling

ORIENTATION = 0x0112
TURNED = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def scenes() -> dict[str, Scene]:
    """All scenes, by what a table calls them."""
    return (
        {"as it is, normalised again": lambda image, _: saved(Image.fromarray(image))}
        | {"inverted": lambda image, _: saved(inverted(Image.fromarray(image)))}
        | {f"{times} times as large": _enlarged(times) for times in (3, 10, 40)}
        | {"10 times as large, in squares": lambda image, _: saved(enlarged(image, 10, Filter.NEAREST))}
        | {"half as large": lambda image, _: saved(Image.fromarray(image).reduce(2))}
        | {f"in a corner of a {side} pixel page": _on_page(side) for side in (60, 500)}
        | {
            "3 times as large on a 2000 pixel page": lambda image, random: saved(
                on_page(enlarged(image, 3), 2000, random)
            )
        }
        | {"blue ink on yellow paper": _coloured((240, 220, 130), (40, 60, 160))}
        | {"red ink on green paper as light": _coloured((80, 190, 80), (220, 110, 90))}
        | {"pale ink: 40 of 255 grey levels": _coloured((200, 200, 200), (160, 160, 160))}
        | {f"a lamp on one side: {percent} % of its light": _lamp(1 - percent / 100) for percent in (40, 20)}
        | {"a shadow across": lambda image, random: saved(shaded(page(image, 8, 40), random))}
        | {"JPEG of quality 30": lambda image, _: jpeg(page(image, 8, 0), 30)}
        | {"JPEG of quality 30, 28 pixels": lambda image, _: jpeg(inverted(Image.fromarray(image)), 30)}
        | {"turned by EXIF": _turned}
        | {
            "16 bits": lambda image, _: saved(
                Image.fromarray((255 - np.asarray(enlarged(image, 4))).astype(np.uint16) * 257)
            )
        }
        | {
            "12 bits of 16": lambda image, _: saved(
                Image.fromarray(np.asarray(enlarged(image, 4)).astype(np.uint16) * 16)
            )
        }
        | {"black on nothing (alpha)": _on_nothing(0), "white on nothing (alpha)": _on_nothing(255)}
        | {f"noise of {level} grey levels": _noisy(level) for level in (20, 40)}
        | {"ruled paper": lambda image, random: saved(ruled(page(image, 8, 40), random, 140))}
        | {"ruled in black": lambda image, random: saved(ruled(page(image, 8, 40), random, 60))}
        | {"drawn by a hairline of 1/120": lambda image, _: saved(redrawn(image, 0))}
        | {"drawn by a felt pen": lambda image, _: saved(redrawn(image, 13))}
        | {"cropped to the ink": lambda image, _: saved(cropped(page(image, 6, 0)))}
        | {"specks": lambda image, random: saved(specked(page(image, 8, 60), random))}
        | {"a photo: lamp, blur, noise, JPEG 60": lambda image, random: photographed(page(image, 10, 90), random)}
    )


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of a file."""
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def jpeg(picture: Image.Image, quality: int) -> bytes:
    """A JPEG of this quality."""
    return saved(picture, "JPEG", quality=quality)


def inverted(picture: Image.Image) -> Image.Image:
    """Dark where it was light."""
    return ImageOps.invert(picture)


def enlarged(image: Pixels, times: int, how: Filter = Filter.BICUBIC) -> Image.Image:
    """So many times as large along each side."""
    return Image.fromarray(image).resize((times * 28, times * 28), how)


def page(image: Pixels, times: int, margin: int) -> Image.Image:
    """Dark on a light page with a margin."""
    return ImageOps.expand(inverted(enlarged(image, times)), margin, 255)


def on_page(picture: Image.Image, side: int, random: Random) -> Image.Image:
    """Somewhere on a dark page."""
    whole = Image.new("L", (side, side))
    whole.paste(picture, (_place(random, side - picture.width), _place(random, side - picture.height)))
    return whole


def lit(picture: Image.Image, random: Random, darkest: float) -> Image.Image:
    """Under a lamp on one side: the far side gets `darkest` of its light."""
    width, height = picture.size
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width) - 0.5
    angle = random.uniform(0, 2 * math.pi)
    along = math.cos(angle) * columns + math.sin(angle) * rows
    light = 1 - (1 - darkest) * (along - along.min()) / np.ptp(along)
    return Image.fromarray(np.round(np.asarray(picture) * light).astype(np.uint8))


def shaded(picture: Image.Image, random: Random) -> Image.Image:
    """The shadow of something over a part of the page, its edge a little soft."""
    width, height = picture.size
    rows, columns = np.mgrid[0:height, 0:width]
    angle = random.uniform(0, 2 * math.pi)
    edge = (
        math.cos(angle) * (columns - width / 2) + math.sin(angle) * (rows - height / 2) + random.normal(0, 0.1 * width)
    )
    light = 0.55 + 0.45 / (1 + np.exp(-edge / (0.03 * width)))
    return Image.fromarray((np.asarray(picture) * light).astype(np.uint8))


def noisy(picture: Image.Image, random: Random, level: float) -> Image.Image:
    """With Gaussian noise of this many grey levels."""
    pixels = np.asarray(picture) + random.normal(0, level, (picture.height, picture.width))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def ruled(picture: Image.Image, random: Random, level: int) -> Image.Image:
    """On paper with lines of this grey level, a little askew."""
    drawn, (width, height) = picture.copy(), picture.size
    gap = height // 4
    for top in range(int(random.integers(0, gap)), height, gap):
        line = [(0, top), (width, top + int(random.integers(-3, 4)))]
        ImageDraw.Draw(drawn).line(line, fill=level, width=max(1, height // 150))
    return drawn


def specked(picture: Image.Image, random: Random) -> Image.Image:
    """With fifteen black specks of up to three pixels a side."""
    pixels = np.array(picture)
    for _ in range(15):
        side, top, left = random.integers(1, 4), *(random.integers(0, length - 4) for length in pixels.shape)
        pixels[top : top + side, left : left + side] = 0
    return Image.fromarray(pixels)


def cropped(picture: Image.Image) -> Image.Image:
    """Without any margin around what is darker than half."""
    return picture.crop(inverted(picture).point(lambda level: 255 * (level > 127)).getbbox())


def redrawn(image: Pixels, pen: int) -> Image.Image:
    """The same line, 120 pixels high, by a pen of 1 + 2 `pen` pixels, with hard edges."""
    line = thinned(np.asarray(enlarged(image, 6)) > 127)
    drawn = Image.fromarray(np.where(np.pad(line, pen), 255, 0).astype(np.uint8))
    return inverted(ImageOps.expand(drawn.filter(ImageFilter.MaxFilter(2 * pen + 1)) if pen else drawn, 20, 0))


def thinned(ink: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The skeleton of the ink: Zhang and Suen, "A fast parallel algorithm for thinning digital patterns" (1984)."""
    places = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))  # clockwise from above
    height, width = ink.shape
    while True:
        before = ink
        for one, other in ((((0, 2, 4), (2, 4, 6))), ((0, 2, 6), (0, 4, 6))):
            padded = np.pad(ink, 1)
            near = [padded[top : top + height, left : left + width] for top, left in places]
            count = np.sum(near, axis=0)
            begins = np.sum([~near[turn] & near[(turn + 1) % 8] for turn in range(8)], axis=0)
            open_side = ~np.logical_and.reduce([near[turn] for turn in one])
            open_side &= ~np.logical_and.reduce([near[turn] for turn in other])
            ink = ink & ~((count >= 2) & (count <= 6) & (begins == 1) & open_side)
        if (ink == before).all():
            return ink


def photographed(picture: Image.Image, random: Random) -> bytes:
    """As a telephone sees a page under a lamp."""
    pale = Image.fromarray((255 - 0.8 * (255.0 - np.asarray(picture))).astype(np.uint8))
    soft = lit(pale, random, 0.5).filter(ImageFilter.GaussianBlur(picture.width / 250))
    return jpeg(noisy(soft, random, 6), 60)


def _place(random: Random, most: int) -> int:
    return int(random.integers(0, most + 1))


def _enlarged(times: int) -> Scene:
    return lambda image, _: saved(enlarged(image, times))


def _on_page(side: int) -> Scene:
    return lambda image, random: saved(on_page(Image.fromarray(image), side, random))


def _coloured(paper: tuple[int, int, int], pen: tuple[int, int, int]) -> Scene:
    def scene(image: Pixels, _: Random) -> bytes:
        ink = np.asarray(enlarged(image, 6), np.float32)[..., None] / 255
        return saved(Image.fromarray(np.round(np.array(paper) * (1 - ink) + np.array(pen) * ink).astype(np.uint8)))

    return scene


def _lamp(loss: float) -> Scene:
    return lambda image, random: saved(lit(page(image, 8, 0), random, 1 - loss))


def _noisy(level: float) -> Scene:
    return lambda image, random: saved(noisy(page(image, 8, 0), random, level))


def _on_nothing(grey: int) -> Scene:
    def scene(image: Pixels, _: Random) -> bytes:
        alpha = enlarged(image, 5)
        return saved(Image.merge("LA", (Image.new("L", alpha.size, grey), alpha)))

    return scene


def _turned(image: Pixels, random: Random) -> bytes:
    orientation = int(random.choice(list(TURNED)))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return saved(page(image, 6, 0).transpose(TURNED[orientation]), "JPEG", quality=90, exif=exif)
