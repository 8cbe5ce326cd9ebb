"""What lies in a stream: envelopes and results as AMQP 1.0 messages, and the chunks that carry them."""
