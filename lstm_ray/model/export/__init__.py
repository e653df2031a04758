"""A policy as one graph from the data's own units to its answer, for programs that know no Python: ONNX and torch.export."""
