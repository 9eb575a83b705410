"""The OpenAPI document and the page that shows it.

`document` is built from the routes, with `schemas` from the structs, the `introduction`, and what each handler tells of
itself: its `responses=failure_responses(…)` and `described=…` (`described`). `page` serves it.
"""
