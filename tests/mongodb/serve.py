"""Runs `roomcast serve` with the tuning for the tests' database: python -m tests.mongodb.serve serve …"""

from __future__ import annotations

import os

from roomcast.cli.main import main
from roomcast.log.mongodb import log as mongodb
from roomcast.log.mongodb.opening import MongoTuning
from tests.mongodb.database import SERVERS, TUNINGS

if __name__ == "__main__":
    mongodb.TUNING = TUNINGS[os.environ.get("ROOMCAST_TEST_SERVER", SERVERS[0])]._replace(
        patience=float(os.environ.get("ROOMCAST_TEST_PATIENCE", MongoTuning().patience)),
        check_seconds=MongoTuning().check_seconds,
    )
    main()
