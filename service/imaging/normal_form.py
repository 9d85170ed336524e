"""The normal form of MNIST's images: which pictures of 28x28 pixels are images already, and are not normalised.

All 70,000 images of MNIST have it, as a test shows: their darkest pixel is 0 and their lightest 254 or 255, the longer
side of the box around their ink has 19 or 20 pixels, and their centre of mass is between 13.48 and 14.50 along both
axes, counted from the middle of the first pixel. A picture that was made in another way is in another place, smaller,
fainter or on a grey ground.

Plain images are read 10,000 times a second, so the check has to be cheap: the box comes from the decoder, two values
are looked for before the maximum is, and one product with a matrix gives mass and moments. In float32 they are exact:
they are integers below 2**24.
"""

import numpy as np

from service.types import IMAGE_PIXELS, IMAGE_SIDE

MIN_LIGHTEST = 250
MIN_BOX, MAX_BOX = 19, 20
"""Pixels along the longer side of the box around the ink."""
CENTRE, MAX_OFFSET = 14, 0.6
"""Pixels from the middle of the first pixel, along both axes, and how far from there a centre of mass may be."""

InkBox = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of all that is not 0, the last two exclusive."""

_ROWS, _COLUMNS = np.divmod(np.arange(IMAGE_PIXELS), IMAGE_SIDE)
_MOMENTS = np.stack([np.ones(IMAGE_PIXELS), _ROWS - CENTRE, _COLUMNS - CENTRE]).astype(np.float32)
_dot_moments = _MOMENTS.dot
_UINT8, _FLOAT32 = np.dtype(np.uint8), np.dtype(np.float32)


def has_normal_form(pixels: bytes, box: InkBox | None) -> bool:
    """Whether 784 pixels, row by row, with ink in this box (None: all are 0) are an image as MNIST's are."""
    if box is None:
        return False
    left, top, right, bottom = box
    height, width = bottom - top, right - left
    if height > MAX_BOX or width > MAX_BOX or (height < MIN_BOX and width < MIN_BOX):
        return False  # a box of 20 pixels also shows that the darkest pixel is 0
    if 255 not in pixels and 254 not in pixels and max(pixels) < MIN_LIGHTEST:
        return False
    mass, row, column = _dot_moments(np.frombuffer(pixels, _UINT8).astype(_FLOAT32)).tolist()
    reach = MAX_OFFSET * mass
    return bool(-reach <= row <= reach and -reach <= column <= reach)
