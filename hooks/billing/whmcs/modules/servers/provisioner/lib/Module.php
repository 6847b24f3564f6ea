<?php

namespace WHMCS\Module\Server\Provisioner;

/** What this drop-in is called. */
final class Module
{
    public const NAME = 'provisioner';
    public const VERSION = '0.2.0';
    public const LEAST_SERVICE = '0.2.0'; // the first that lets deliveries be fetched
}
