"""What bends Celery's worker: consumption, transport, requests, shared queues, monitoring."""
