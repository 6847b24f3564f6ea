from tests.integration.test_engine_brakes import *  # noqa: F403
