"""How work grows with workers, nodes and data, and a model of its cost."""
