"""Networks in PyTorch: layers, heads, supernet, batch norm, profiling, model files."""
