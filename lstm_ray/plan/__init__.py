"""What-if scenarios, rollouts and synthetic experience. NumPy; knows no torch and no Ray."""
