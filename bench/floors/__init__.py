"""What each part of an event's way costs alone: the cost of the whole can't be below their sum."""
