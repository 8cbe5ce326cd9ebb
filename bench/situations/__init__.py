"""Measurements of one situation each: a neighbour, a crowd, slow bodies, broken streams."""
