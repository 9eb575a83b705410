"""What the service says about itself: `logs`, written by `buffered_handler`; `metrics`, served by `metrics_server` on a
port of its own; and `tracing`.

`request_events` hands each finished request to whichever of them is on.
"""
