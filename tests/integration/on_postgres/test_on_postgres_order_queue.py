from tests.integration.order.test_order_queue import (  # noqa: F401
    test_cancelled_hold_lets_next_go,
    test_decided_leftover_holds_nobody_again,
    test_each_waits_for_the_one_before,
    test_new_order_passes_failed_create,
    test_next_starts_while_delivering,
    test_other_retry_goes_behind,
    test_retried_create_keeps_its_place,
    test_services_run_side_by_side,
)
