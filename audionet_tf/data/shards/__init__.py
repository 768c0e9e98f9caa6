"""TFRecord files: their framing, shards in tf.data, and the name of a damaged one."""
