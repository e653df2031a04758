"""Windows to predictions: network, training loop, policy. torch and NumPy alone; knows no Ray, rank or file format."""
