"""lstm-ray: one YAML takes a table of sequences from raw files to a served, monitored LSTM policy."""

__version__ = "0.1.0"
