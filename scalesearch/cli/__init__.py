"""The command line: a command parses, calls, prints. Heavy imports happen inside the commands that need them."""
