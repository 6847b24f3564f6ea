from tests.integration.test_lost_answers import (  # noqa: F401
    held,
    test_adopted_vm_gets_new_credentials,
    test_answer_that_is_out_may_claim_the_job,
    test_late_carrying_out_is_a_spare,
    test_lost_order_is_held_at_once,
    test_lost_reinstall_is_nobodys_evidence,
    test_order_never_made_is_sent_again,
    test_orders_lost_together_get_a_vm_each,
    test_other_orders_wait_for_the_unknown_one,
    test_reused_vmid_is_a_new_vm,
    test_unheard_order_is_found_and_taken,
)
