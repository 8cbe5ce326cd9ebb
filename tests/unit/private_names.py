"""Names of libraries that our code relies on though the libraries' documentation does not describe them.

`RELIED` is the list; `test_private_names.py` asks the installed releases for each name, and looks for names
that are missing here. A name counts as documented when its library's published documentation describes it in
words: a reference that only lists it, as it lists everything, promises nothing. Of Flower, flask, werkzeug,
structlog, pydantic and SQLAlchemy nothing undocumented is used.
"""

from tests.unit.private_modules import relied

# By file, or several: `name` alone, on the module, the class or what its methods set on `self`;
# `name(a, b, *, c)`: it takes a and b first, and c, and asks for nothing else; `name(*, c)`: it has c;
# `name['text']`: a string in its source contains the text.
NAMES = {
    "webapp/serving/worker.py": {
        "base.Worker.init_process()": "called after the fork; ours makes its loop first",
        "base.Worker.load_wsgi()": "called before run; ours takes the application's parts",
        "base.Worker.run()": "the worker's life",
        "base.Worker.notify()": "the sign of life, from the loop",
        "base.Worker.alive": "false from a stop on",
        "base.Worker.max_requests": "so many requests end a worker, with the jitter; a huge number for none",
        "base.Worker.ppid": "the master, without which a worker ends",
        "base.Worker.sockets": "the listeners",
        "base.Worker.cfg": "the settings",
        "sock.ssl_context(conf)": "of the settings' certificates",
        "sock.BaseSocket.sock": "a listener's socket",
    },
    "webapp/serving/server.py": {
        "sslproto.SSLProtocol.max_size": "the bytes of each TLS connection's own buffer",
        "sslproto._SSLProtocolTransport.set_read_buffer_limits(high, low)": "bytes read ahead",
    },
    "webapp/serving/worker.py webapp/gunicorn.py": {
        "base.Worker.wsgi": "the application that was loaded",
        "config.Config.is_ssl": "whether gunicorn itself ends TLS",
    },
    "webapp/gunicorn.py": {
        "base.Worker.log": "for warnings",
        "arbiter.Arbiter.LISTENERS": "the agents' sockets; the first is asked for the application's health",
        "arbiter.Arbiter.WORKERS": "the living workers, whose cores are taken",
        "arbiter.Arbiter.cfg": "the settings",
        "arbiter.Arbiter.signal(sig, frame)": "SIGTERM's handler, which ours calls after the drain",
        "arbiter.Arbiter.signal_chld(sig, frame)": "SIGCHLD's; ours sees to the operators' listener first",
    },
    "webapp/serving/json_logger.py": {
        "glogging.Logger.setup(cfg)": "makes the handlers; ours gives them another form",
        "glogging.Logger.error_log": "all lines but those of requests",
    },
    "webapp/serving/watching.py": {
        "arbiter.Arbiter.murder_workers()": "called in each round of the master; ours looks at workers there",
        "arbiter.Arbiter.WORKERS": "the living workers",
        "base.Worker.tmp": "the file whose time is that of the last turn of a worker's loop",
        "workertmp.WorkerTmp.last_update()": "that time",
    },
    "webapp/serving/framing.py": {"chunks.CHUNK_EXT_RE": "chunk extensions are accepted as the parser does"},
    "streams/connections/client.py": {
        "Client.__init__(host, port, *, ssl_context, frame_max, heartbeat, connection_name)": "extended",
        "Client.host": "the node's",
        "Client.port": "the node's",
        "Client.authenticate(vhost, username, password)": "logs in, by sync_request and send_frame",
        "Client.send_frame(frame, version)": "ours writes to our own transport",
        "Client.server_properties": "what the node said at login: the address it advertises",
        "Client._start_heartbeat()": "called at login; ours keeps rstream's heartbeat from starting",
        "Client._heartbeat": "seconds, as agreed at login",
        "Client._ssl_context": "of our own transport, too",
        "Client._waiters": "futures by (key, corr_id) of their frame, which ours settles",
        "Client._corr_id_seq": "numbers that answers carry",
        "sequence.MonotonicSeq.next()": "the next of them",
        "encoding.encode_frame(frame, version_to_encode)": "all frames but publishes and credits",
        "encoding.decode_frame(data)": "all frames but chunks and confirms",
        "exceptions.StreamDoesNotExist.code": "the answer for a stream that is not there",
        "exceptions.StreamNotAvailable.code": "the answer for a stream without a leader",
        "exceptions.ServerError.code": "the code of a refusal",
        "exceptions.ServerError.from_code(code)": "the name of a code, for people",
        "schema.Frame.key": "with corr_id, says who waits for a frame",
        "schema.Frame.corr_id": "the number of the request that it answers",
        "schema.Heartbeat()": "sent twice in the agreed time",
        "schema.CreditResponse": "let be",
        "schema.Close(correlation_id, code, reason)": "a goodbye, the node's or ours",
        "schema.CloseResponse(correlation_id, response_code)": "its answer",
        "schema.MetadataUpdate(metadata_info)": "a stream has gone, or its leader has moved",
        "schema.MetadataInfo(*, stream)": "which one",
    },
    "streams/connections/client.py streams/declaring.py streams/reading/stream_bounds.py "
    "streams/publishing/stream_publisher.py streams/connections/pool.py": {
        "Client.sync_request(frame, resp_schema, raise_exception)": "asks, and waits for the answer",
    },
    "streams/publishing/stream_publisher.py streams/connections/pool.py": {
        "Client.frame_max": "bytes, as agreed at login"
    },
    "streams/connections/pool.py streams/reading/stream_bounds.py": {
        "schema.Metadata(correlation_id, streams)": "asks for streams' nodes, or only for an answer",
        "schema.MetadataResponse(*, brokers, metadata)": "its answer",
    },
    "streams/connections/pool.py": {
        "schema.StreamMetadata(*, response_code, leader_ref, replicas_refs)": "which nodes have a stream",
        "schema.Broker(*, reference, host, port)": "where a node is",
    },
    "streams/declaring.py": {
        "schema.Create(correlation_id, stream, arguments)": "creates a stream",
        "schema.CreateResponse(*, response_code)": "its answer",
        "schema.Property(key, value)": "one of its arguments",
        "schema.Delete(correlation_id, stream)": "deletes a stream",
        "schema.DeleteResponse(*, response_code)": "its answer",
        "exceptions.StreamAlreadyExists.code": "the answer for a stream that is there",
        "exceptions.PreconditionFailed.code": "the answer for one with other arguments",
    },
    "streams/publishing/stream_publisher.py": {
        "schema.DeclarePublisher(correlation_id, publisher_id, reference, stream)": "opens a publisher",
        "schema.DeclarePublisherResponse(*, response_code)": "its answer",
    },
    "streams/reading/attachment.py": {
        "Client.sync_request(frame, resp_schema, raise_exception)": "asks, and waits for the answer",
        "schema.Subscribe(correlation_id, subscription_id, stream, offset_spec, credit, properties)": "reads",
        "schema.SubscribeResponse(*, response_code)": "its answer",
        "schema.Unsubscribe(correlation_id, subscription_id)": "detaches",
        "schema.UnsubscribeResponse": "its answer",
    },
    "streams/reading/attachment.py streams/reading/stream_bounds.py": {
        "schema.OffsetSpec(offset_type)": "where to begin"
    },
    "streams/reading/stream_bounds.py": {
        "constants.OffsetType.FIRST": "the oldest chunk",
        "constants.OffsetType.LAST": "the newest chunk",
    },
    "streams/reading/subscription.py streams/reading/gathering.py": {
        "schema.OffsetSpecOffset(offset_type, value)": "a subscription begins at an offset",
        "constants.OffsetType.OFFSET": "the same",
    },
    "tasks/worker/transport.py": {
        "amqp.channel.Channel._do_revive()": "opens a channel that the broker closed; ours remembers it",
        "amqp.channel.Channel.is_open": "false, what was consumed through the channel no longer is",
        "amqp.connection.Connection.blocking_read(timeout)": "ours gives up a broker that owes an answer",
        "amqp.connection.Connection.collect()": "closes the socket of a connection that is given up",
        "pyamqp.Connection.Channel": "the class of the connection's channels",
        "pyamqp.Transport.Connection": "the class of the transport's connections",
        "pyamqp.Transport.recoverable_connection_errors": "those after which kombu connects anew",
    },
    "celeryconfig.py streams/by_amqp.py tasks/health.py": {
        "amqp.connection.Connection(*, read_timeout, write_timeout)": "bound the waiting for a silent broker",
    },
    "streams/reachable.py": {
        "exceptions.AuthenticationFailure.code": "user or password are wrong",
        "exceptions.SASLError.code": "the same",
        "exceptions.SASLAuthenticationFailureLoopback.code": "guest from another host",
        "exceptions.VirtualHostAccessFailure.code": "no such vhost, or no permission",
    },
    "tasks/worker/refused_queues.py": {
        "amqp.exceptions.AMQPError.reply_text": "names the queue that was refused"
    },
    "tasks/worker/consumer.py": {
        "consumer.Consumer.__init__(on_task_request)": "ours makes its state first: the steps look at it",
        "consumer.Consumer.on_connection_error_after_connected(exc)": "ours leaves a refused queue out",
        "consumer.Consumer.ensure_connected(conn)": "ours bounds the pause between two tries",
        "consumer.Consumer.connection_for_write(url, heartbeat)": "of events; ours asks for no confirms",
        "retry.Connection.ensure_connection": "ours stands in its place on a connection",
        "retry.Connection._ensure_connection(*, interval_max)": "what ensure_connection hands it on to",
    },
    "tasks/worker/consumer.py tasks/worker/consumption.py tasks/worker/shared_queues.py": {
        "queues.Queues.consume_from": "the queues that the worker consumes",
    },
    "tasks/worker/consumption.py": {
        "consumer.Consumer.register_with_event_loop['register_with_event_loop']": "calls it of each step",
    },
    "tasks/worker/consumption.py tasks/worker/shared_queues.py": {
        "consumer.tasks.Tasks": "the step that ours come after",
    },
    "tasks/worker/shared_queues.py": {
        "pool.BasePool.num_processes": "how much this worker counts among the shared"
    },
    "tasks/worker/monitoring.py": {
        "control.Control.Mailbox": "the class of the worker's mailbox",
        "events.Events.dispatcher_cls": "the class that sends events",
        "dispatcher.EventDispatcher.__init__()": "makes the buffer, which ours replaces",
        "dispatcher.EventDispatcher._outbound_buffer": "events that could not be sent; ours is bounded",
    },
    "tasks/worker/requests.py": {
        "request.Request.acknowledged": "true, the message is not sent again",
        "request.Request.acknowledge()": "of a message that was sent again",
        "request.Request.send_event(type)": "tells Flower",
        "request.Request.request_dict": "holds the number of deaths so far",
        "request.Request.message": "its headers are sent again",
        "request.Request.body": "is sent again as it came",
        "request.Request.content_type": "the same",
        "request.Request.content_encoding": "the same",
        "request.Request.delivery_info": "where it is sent again to",
        "request.Request.app": "by which it is sent",
        "request.Request.id": "the task's id stays",
        "request.Request.name": "for the log",
        "request.Request.argsrepr": "for the log: customer and window",
        "state.task_ready(request)": "takes the request out of those under way",
        "state.should_terminate": "true, the worker is being ended and nothing is held against a window",
        "einfo.ExceptionInfo.exception": "why a task failed",
        "einfo.ExceptionWithTraceback.exc": "the error itself, of one that a child has sent",
        "lost.Pool.mark_as_worker_lost['prematurely: ']": "how the child ended stands behind it",
        "status.human_status['exitcode']": "the child was not ended by a signal",
    },
    "tasks/stages/celery_tasks.py": {
        "queues.AMQP.as_task_v2['argsrepr']": "a header, and so in a task's request"
    },
    "tasks/stages/deliveries.py": {"task.Context": "has a message's headers: the mark of a death"},
    "tasks/stages/context.py": {"local.Proxy._get_current_object()": "the app that current_app stands for"},
    "tasks/health.py": {
        "nodenames.default_nodename(hostname)": "a worker's name, as it was given or by default",
        "nodenames.host_format(s)": "the same with %h filled in",
    },
    "operators/values.py": {
        "values.ValueClass": "replaced, so that all numbers are in shared memory",
        "metrics.values": "by which metrics ask for it whenever they make a number",
        "values.MutexValue(typ, metric_name, name, labelnames, labelvalues, help_text)": "ours takes it",
        "values.MutexValue.inc(amount)": "ours has it",
        "values.MutexValue.set(value, timestamp)": "ours has it",
        "values.MutexValue.get()": "ours has it",
        "values.MutexValue.set_exemplar(exemplar)": "ours has it",
        "values.MutexValue.get_exemplar()": "ours has it",
        "core.Metric.add_sample(name, labels, value)": "adds the processes' sum",
        "numbers.floatToGoString(d)": "writes a bucket's bound",
    },
    "deploy/local/supervise.py": {
        "honcho.Process.__init__(cmd)": "ours extends it",
        "honcho.Popen(cmd)": "starts the command in a session of its own",
        "honcho.Process._child_ctor": "starts the command; ours keeps what it returns",
    },
}


RELIED = tuple(relied(key, by, what) for by, names in NAMES.items() for key, what in names.items())
