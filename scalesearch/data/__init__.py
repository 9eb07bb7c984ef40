"""Images from a folder, a named set or the embedded one; split, decoded once, handed out as batches."""
