"""The functions and classes of the Python API; `audionet_tf.api` has their names. Nothing heavy is imported early."""
