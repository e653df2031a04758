"""What scenarios change, and what comes of it. NumPy; knows no torch and no Ray."""
