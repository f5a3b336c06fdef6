"""Fused CPU kernels: the convolutional part of a network, forward and backward, as one call of a C library."""
