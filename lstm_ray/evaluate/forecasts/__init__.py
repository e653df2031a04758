"""Forecasts beside what came: metrics, baselines, error patterns, figures. NumPy; knows no model beyond what it forecasts."""
