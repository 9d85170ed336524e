"""Picture bytes -> 28x28 images. Imports neither HTTP code nor a model."""

import cv2

cv2.setNumThreads(1)  # a worker has a process for each core; each thread of OpenCV reserves memory, which is limited
