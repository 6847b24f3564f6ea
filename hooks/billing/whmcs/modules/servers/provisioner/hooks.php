<?php

/*
 * WHMCS reads this file on every page. It costs next to nothing until one of these hooks is called; each answers
 * an array, for WHMCS breaks on anything else, and each looks away from what is not this module's.
 */

if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

require_once __DIR__ . '/lib/load.php';

use WHMCS\Module\Server\Provisioner\Hooks;

defined('PROVISIONER_HOOKS') || define('PROVISIONER_HOOKS', true); // the mark that Test Connection looks for

add_hook('EmailPreSend', 1, static fn ($vars) => Hooks::run('mailIsSent', $vars));
add_hook('EmailPreLog', 1, static fn ($vars) => Hooks::run('mailIsLogged', $vars));
add_hook('PreModuleChangePackage', 1, static fn ($vars) => Hooks::run('packageChanges', $vars));
add_hook('ShoppingCartValidateUpgrade', 1, static fn ($vars) => Hooks::run('upgradeIsOrdered', $vars));
add_hook('ServiceDelete', 1, static fn ($vars) => Hooks::run('serviceIsDeleted', $vars));
add_hook('FraudOrder', 1, static fn ($vars) => Hooks::run('orderIsFraud', $vars));
add_hook('CancelOrder', 1, static fn ($vars) => Hooks::run('orderIsCancelled', $vars));
add_hook('AdminProductConfigFields', 1, static fn ($vars) => Hooks::run('productIsShown', $vars));
add_hook('ProductEdit', 1, static fn ($vars) => Hooks::run('productIsSaved', $vars));
add_hook('AfterCronJob', 1, static fn ($vars = []) => Hooks::run('cronHasRun', $vars));
