from tests.integration.order.test_meaning_order_again import *  # noqa: F403
