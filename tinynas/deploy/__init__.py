"""A trained model on its target: ONNX and TFLite files, measured latency."""
