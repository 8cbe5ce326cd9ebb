"""The dispatcher: reads raw streams in order, cuts them into windows, records them, rings their chains."""
