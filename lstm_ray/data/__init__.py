"""Raw table to segments to windows. Polars, Arrow and NumPy; knows nothing of models."""
