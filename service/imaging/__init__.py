"""Picture bytes -> 28x28 images. Imports neither HTTP code nor a model."""
