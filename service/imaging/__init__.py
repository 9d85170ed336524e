"""Picture bytes -> 28x28 images. Imports neither HTTP code nor a model."""

import cv2

cv2.setNumThreads(1)  # one request is one thread; a pool of OpenCV's would not survive the fork of a parser process
