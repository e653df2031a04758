"""Forecasts of tables of any size: blocks of whole series in, Parquet files out. ``on_ray/forecast.py`` is their entry."""
