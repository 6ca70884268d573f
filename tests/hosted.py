"""roomcast as an application for any ASGI server, with the options that ROOMCAST_TEST_OPTIONS has as JSON."""

import json
import os

import roomcast

app = roomcast.app(**json.loads(os.environ["ROOMCAST_TEST_OPTIONS"]))
