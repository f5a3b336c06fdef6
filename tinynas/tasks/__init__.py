"""What classification and detection do differently: losses, decoding, metrics."""
