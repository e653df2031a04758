"""Predictions to scores: metrics, baselines, robustness, error patterns. NumPy; knows no Ray and no HTML."""
