"""The verbs of the command line, one file per family; each imports what it needs when called."""
