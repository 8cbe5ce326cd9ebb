"""The three stages, their Celery tasks, and what only they use."""
