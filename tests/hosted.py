"""roomcast as someone else's application, with the options that ROOMCAST_TEST_OPTIONS holds as JSON."""

import json
import os

import roomcast

app = roomcast.app(**json.loads(os.environ["ROOMCAST_TEST_OPTIONS"]))
