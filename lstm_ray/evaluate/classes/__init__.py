"""Classes of sequences beside what they were: metrics, baselines, figures. Knows probabilities; knows no model."""
