"""Publishing to many streams, up to the broker's confirms."""
