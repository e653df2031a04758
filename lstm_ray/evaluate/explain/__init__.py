"""What a policy relies on: by input and by how long ago, for forecasts, classes and labels of steps."""
