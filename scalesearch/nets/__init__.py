"""Specs made into torch modules, fvcore's count of them, names and files of their weights."""
