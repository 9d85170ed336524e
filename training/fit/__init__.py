"""The training loop: optimisers, teachers, checkpoints, the log of a run."""
