"""The commands of `digits`, one file each."""
