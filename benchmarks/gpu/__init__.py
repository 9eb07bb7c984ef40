"""Everything that needs a GPU to be known, measured by one command: see README.md."""
