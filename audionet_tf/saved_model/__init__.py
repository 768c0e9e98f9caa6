"""The exported SavedModel: signatures, writer, loader, verification, TFLite, ONNX, model card."""
