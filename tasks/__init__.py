"""The Celery application, the dispatcher, and the three stages of a window."""
