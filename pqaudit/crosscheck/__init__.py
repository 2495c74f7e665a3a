"""A second opinion on IKE messages by an independent dissector, field by field."""
