"""What a process reads of its environment before it begins, and how it ends when that makes no sense."""
