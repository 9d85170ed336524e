"""Training: the loop, optimisers, teachers, checkpoints, the log of a run."""
