from tests.integration.test_leases import *  # noqa: F403
