from tests.integration.order.test_meaning_order_again import (  # noqa: F401
    test_new_order_replaces_failed_one,
    test_order_in_grace_is_undo,
    test_order_under_way_is_answered,
    test_order_undoes_waiting_terminate,
)
