<?php

namespace WHMCS\Module\Server\Provisioner;

/*
 *  Problem          said to staff as it stands, to customers as `forCustomer` says
 *  ├─ Unavailable   nothing is known to have happened: an event is kept and sent later under the same id
 *  ├─ Refused       the service said no: a person must mend it
 *  └─ NotWritten    WHMCS's own API said no to a write; the delivery waits and is tried again
 */

/** What went wrong, to which thing, what to do; the message is for staff. */
class Problem extends \RuntimeException
{
    /** @var string */
    private $forCustomer;

    public function __construct(string $forStaff, string $forCustomer = '')
    {
        parent::__construct($forStaff);
        $this->forCustomer = $forCustomer;
    }

    /** The same in words that a customer may read: they name neither the cause nor who runs the servers. */
    public function forCustomer(): string
    {
        return $this->forCustomer !== ''
            ? $this->forCustomer
            : 'This cannot be done at the moment. Please contact support.';
    }
}

/** No clear answer came: unreachable, out of time, a 5xx, or a page that is not ours. */
class Unavailable extends Problem
{
    public function __construct(string $forStaff)
    {
        parent::__construct($forStaff, 'This is not possible right now. Please try again in a few minutes.');
    }
}

/** The service answered with a 4xx. */
class Refused extends Problem
{
    /** @var int */
    public $status;

    /** @var string the contract's error code, such as unknown_service; '' where the answer had none */
    public $reason;

    public function __construct(int $status, string $reason, string $forStaff)
    {
        parent::__construct($forStaff);
        $this->status = $status;
        $this->reason = $reason;
    }
}

/** WHMCS refused what a delivery has to write. */
class NotWritten extends Problem
{
}
