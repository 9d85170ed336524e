"""Array types that several packages share, and the side of an image."""

import numpy as np
import numpy.typing as npt

IMAGE_SIDE = 28
"""Pixels along each side of an image, as in MNIST."""
IMAGE_PIXELS = IMAGE_SIDE * IMAGE_SIDE

DigitImage = npt.NDArray[np.uint8]
"""uint8 [28, 28]: 0 is background, 255 is ink."""
Batch = npt.NDArray[np.uint8]
"""uint8 [N, 28, 28]."""
Probabilities = npt.NDArray[np.float32]
"""float32 [N, 10]; each row sums to 1."""
GreyImage = npt.NDArray[np.uint8]
"""uint8 [H, W]."""
Pixels = npt.NDArray[np.uint8]
"""uint8 [H, W] of grey levels, or [H, W, 3] in RGB."""
FloatImage = npt.NDArray[np.float32]
"""float32 [H, W]."""
Mask = npt.NDArray[np.bool_]
"""bool [H, W]."""
