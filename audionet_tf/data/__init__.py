"""Everything on disk that training reads, and tf.data over it."""
