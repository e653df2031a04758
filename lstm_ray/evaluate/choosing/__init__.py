"""Which policy goes on, told by the validation part alone. Knows policies and reports; never reads the test part."""
