<?php
// What every request of this WHMCS begins with: errors, autoloading, the database, the active modules' hooks.
//
// A notice, a warning or a deprecation of anything but Debian's libraries is a complaint: a line in
// complaints.log, on which the tests fail. PHP itself carries on, as it does in a shop.

define('WHMCS', true);
define('ROOTDIR', __DIR__);
error_reporting(E_ALL);
ini_set('display_errors', 'stderr');
date_default_timezone_set('UTC');

function standin_complain(string $words): void
{
    file_put_contents(ROOTDIR . '/complaints.log', str_replace("\n", ' / ', $words) . "\n", FILE_APPEND | LOCK_EX);
}

set_error_handler(function (int $level, string $words, string $file, int $line): bool {
    $theirs = strpos($file, '/usr/share/php/') === 0 || strpos($file, ROOTDIR . '/templates_c/') === 0;
    if ((error_reporting() & $level) && !$theirs) {
        standin_complain("$words in $file:$line");
    }
    return true;
});

require '/usr/share/php/Illuminate/Database/autoload.php';
require ROOTDIR . '/includes/database.php';
require ROOTDIR . '/includes/classes.php';
require ROOTDIR . '/includes/functions.php';
require ROOTDIR . '/includes/mail.php';
require ROOTDIR . '/includes/modules.php';
require ROOTDIR . '/includes/orders.php';
require ROOTDIR . '/includes/pages.php';
require ROOTDIR . '/includes/actions.php';

// modules/servers/<name>/lib/ under WHMCS\Module\Server\<Name>\ (modules/module-class-autoloading.md).
spl_autoload_register(function (string $class): void {
    if (preg_match('/^WHMCS\\\\Module\\\\Server\\\\(\w+)\\\\(.+)$/', $class, $found)) {
        $file = ROOTDIR . '/modules/servers/' . strtolower($found[1]) . '/lib/' . strtr($found[2], '\\', '/') . '.php';
        if (is_file($file)) {
            require $file;
        }
    }
});

$_SESSION = ['tkval' => 'a-session'];
require ROOTDIR . '/configuration.php';
StandIn\open_database(ROOTDIR . '/whmcs.sqlite');
StandIn\load_hooks();
