"""The offline job: MNIST in, a published version of the model out. Run as `python -m training`."""
