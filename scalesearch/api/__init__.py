"""What the command line and Python programs have in common: asked for as values, done by functions, no printing."""
