"""The same recipe over several stretches of time and several seeds."""
