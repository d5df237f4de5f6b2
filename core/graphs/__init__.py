"""Models as graphs that other programs run: ONNX, OpenVINO and torch.export."""
