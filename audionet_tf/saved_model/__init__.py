"""The exported SavedModel: signatures, writer, loader, verification, TFLite."""
