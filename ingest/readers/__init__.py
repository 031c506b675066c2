"""File -> document: decode, choose the reader by content, apply the sidecar."""
