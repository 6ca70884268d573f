"""`roomcast serve` with the tuning that the tests' database needs: python -m tests.mongodb.serve serve …"""

from __future__ import annotations

import os

from roomcast.cli.main import main
from roomcast.log.mongodb import log as mongodb
from roomcast.log.mongodb.opening import Tuning
from tests.mongodb.database import SERVERS, TUNINGS

if __name__ == "__main__":
    mongodb.TUNING = TUNINGS[os.environ.get("ROOMCAST_TEST_SERVER", SERVERS[0])]._replace(
        patience=float(os.environ.get("ROOMCAST_TEST_PATIENCE", Tuning().patience)),
        look_seconds=Tuning().look_seconds,
    )
    main()
