"""What forecasts leave over: bias, autocorrelation, shape and spread of errors, the worst windows, series that fail alike."""
