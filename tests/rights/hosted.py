"""roomcast as someone else's application, with keys."""

import json
import os

import roomcast

_options = json.loads(os.environ["ROOMCAST_TEST_OPTIONS"])
_options["keys"] = tuple(roomcast.Key(**row) for row in _options.pop("keys", ()))
app = roomcast.app(**_options)
