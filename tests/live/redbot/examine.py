"""What REDbot has to say about some requests. Its own command sends none with a header.

`python examine.py`, in an environment of REDbot's own, reads a list of `{"method", "url", "headers"}` as JSON and
writes a list of `{"status", "validated", "notes"}`: whether an If-None-Match was 304, and all that was noted about the
answer, and about the answers to what REDbot asks beside it: for the same again with its entity tag, and compressed.
"""

import json
import sys
from configparser import ConfigParser

import thor
from redbot.resource import HttpResource

LOCAL = {"redbot": {"enable_local_access": "True"}}


def examine(requests):
    """Send each request, with all that REDbot makes of it, and return what there is to say about each."""
    config = ConfigParser()
    config.read_dict(LOCAL)
    resources = [HttpResource(config["redbot"]) for _ in requests]
    waiting = set(resources)

    def done(resource):
        waiting.remove(resource)
        if not waiting:
            thor.stop()

    for resource, request in zip(resources, requests, strict=True):
        resource.set_request(request["url"], method=request["method"], headers=list(request["headers"].items()))
        resource.on("check_done", lambda resource=resource: done(resource))
        resource.check()
    thor.run()
    return [told(resource) for resource in resources]


def told(resource):
    notes = [note for each in (resource, *resource.subreqs.values()) for note in each.response.notes]
    return {
        "status": resource.response.status_code,
        "validated": resource.inm_support,
        "notes": [f"{each.level.value}: {each.summary}" for note in notes for each in (note, *note.subnotes)],
    }


if __name__ == "__main__":
    json.dump(examine(json.load(sys.stdin)), sys.stdout)
