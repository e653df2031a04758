"""How right a served policy turns out to be: rolling errors beside validation's, and when they changed."""
