from tests.integration.test_leases import (  # noqa: F401
    test_job_id_survives_a_failing_store,
    test_lease_runs_out_without_a_restart,
    test_person_takes_it_from_the_worker,
    test_process_that_stood_still_at_the_intent_sends_nothing,
    test_sleeping_deliverer_writes_nothing_back,
    test_sleeping_worker_writes_nothing_back,
    test_two_claims_never_give_the_same,
    world,
)
