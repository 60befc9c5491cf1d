"""Model files, read with suspicion: bounded headers first, tensors only by checked offsets."""
