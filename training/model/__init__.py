"""The network and the quantisation of its weights."""
