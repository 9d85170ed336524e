"""The training pipeline: reads MNIST, trains a recipe, publishes a version. Run as `python -m training`."""
