"""Live data to drift, errors and load, as sums that add over replicas. NumPy; knows no torch, no HTTP and no Ray."""
