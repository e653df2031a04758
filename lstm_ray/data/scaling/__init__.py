"""Units in which a network reads and answers, fitted on the training part."""
