"""Sub-commands of the command line, by what they are for. Light modules: a command imports what it needs."""
