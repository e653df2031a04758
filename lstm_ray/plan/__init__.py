"""Planning with a trained policy: futures, what-ifs, decisions, synthetic experience. Knows no torch and no Ray."""
