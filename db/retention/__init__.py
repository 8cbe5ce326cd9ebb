"""Partitions, folding of old windows, and the removal of what is past its retention."""
