"""Celery's configuration: read by `celery -A tasks` and by the dispatcher."""

from environment import starting
from tasks.settings import TaskSettings

with starting.stopping():
    starting.check()
    _settings = TaskSettings()

broker_url = _settings.broker_url.get_secret_value()
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
worker_consumer = "tasks.worker.consumer:PromptConsumer"
broker_connection_timeout = 5.0
broker_heartbeat = 10
# A chain's next link is confirmed before the link before it is acknowledged: a death in between repeats,
# never loses. A broker that owes an answer and is silent for so many seconds, more than pass between two
# heartbeats, is given up (`tasks.worker.transport`).
broker_transport_options = {"confirm_publish": True, "read_timeout": 15.0, "write_timeout": 15.0}

task_default_queue = "shared"
task_default_queue_type = _settings.queue_type
task_create_missing_queue_type = _settings.queue_type

# msgpack carries Arrow's bytes as they are. Nothing else is accepted.
task_serializer = "msgpack"
result_serializer = "msgpack"
accept_content = ["msgpack"]
event_serializer = "json"

# The one event that names a task's queue in Flower.
task_send_sent_event = True

# The ledger, not a result backend, knows what became of a window.
task_ignore_result = True
task_store_errors_even_if_ignored = False
task_acks_late = True
# The parent of a child that dies at a message, or is killed over it, sends it again with a mark that the
# ledger counts (tasks.worker.requests). When it can't, the message goes back to its queue.
task_reject_on_worker_lost = True
task_acks_on_timeout = False
task_publish_retry_policy = {
    "max_retries": 10,
    "interval_start": 0.1,
    "interval_step": 0.3,
    "interval_max": 2.0,
}
task_time_limit = _settings.task_time_limit_s

# A queue that is refused closes the channel of all: the worker consumes the others anew
# (tasks.worker.consumer).
broker_channel_error_retry = True
worker_prefetch_multiplier = 1
worker_send_task_events = True
worker_soft_shutdown_timeout = 30.0
worker_cancel_long_running_tasks_on_connection_loss = False
worker_redirect_stdouts = False
worker_max_memory_per_child = 1_500_000  # KiB: a child that leaks is replaced between two tasks
