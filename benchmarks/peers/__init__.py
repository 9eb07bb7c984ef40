"""Other people's implementations as judges of this one."""
