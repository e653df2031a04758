"""Learning on: what asks for a challenger, what it learns from, whether it takes over. Runs the lifecycle once more."""
