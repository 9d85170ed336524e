"""What `make` and the continuous integration run: the locks, the tests in two phases, the environment."""
