from tests.integration.order.test_order_queue import *  # noqa: F403
