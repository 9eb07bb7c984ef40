"""Recognising the members of a group on photos: embeddings, galleries, open-set thresholds."""
