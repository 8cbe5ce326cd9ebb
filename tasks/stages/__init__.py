"""The three stages, their doorways (the Celery tasks), and what only they use."""
