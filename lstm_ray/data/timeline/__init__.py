"""Times of any kind to a regular grid."""
