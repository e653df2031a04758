"""Raw table to findings. Polars, SciPy and statsmodels; knows nothing of segments, windows or models."""
