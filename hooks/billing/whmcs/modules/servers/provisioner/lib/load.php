<?php

/*
 * Finds the classes of this module. WHMCS has a loader of its own for lib/, but not in every place from which
 * hooks.php is read; this one knows nothing but our namespace and costs nothing until a class is asked for.
 */

if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

require_once __DIR__ . '/errors.php';

spl_autoload_register(static function (string $class): void {
    $ours = 'WHMCS\\Module\\Server\\Provisioner\\';
    $name = substr($class, strlen($ours));
    if (strncmp($class, $ours, strlen($ours)) === 0 && preg_match('/^[A-Za-z]+$/D', $name) === 1) {
        $file = __DIR__ . '/' . $name . '.php';
        if (is_file($file)) {
            require_once $file;
        }
    }
});
