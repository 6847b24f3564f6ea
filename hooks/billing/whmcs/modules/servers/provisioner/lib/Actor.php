<?php

namespace WHMCS\Module\Server\Provisioner;

use WHMCS\Database\Capsule;

/** Who makes WHMCS act: the cron, an admin, a client, or something else that calls in (its API, a gateway). */
final class Actor
{
    /** @return array{type: string, name: string} */
    public static function now(): array
    {
        $script = basename((string) ($_SERVER['SCRIPT_NAME'] ?? ''));
        if (PHP_SAPI === 'cli' || $script === 'cron.php') {
            return self::called('cron', '');
        }
        if ($script === 'api.php') {
            return self::called('api', '');
        }
        try {
            return self::person() ?? self::called('api', '');
        } catch (\Throwable $problem) {
            return self::called('api', '');
        }
    }

    /** @return array{type: string, name: string}|null */
    private static function person(): ?array
    {
        $current = class_exists('\WHMCS\Authentication\CurrentUser')
            ? new \WHMCS\Authentication\CurrentUser()
            : null;
        $admin = self::admin($current);
        // One browser may be signed in as both: in the client area it is the client, unless an admin plays him.
        $played = $current !== null && method_exists($current, 'isMasqueradingAdmin') && $current->isMasqueradingAdmin();
        if ($admin !== '' && ($played || !defined('CLIENTAREA'))) {
            return self::called('admin', $admin);
        }
        $client = self::client($current);
        return $client > 0 ? self::called('client', (string) $client) : null;
    }

    private static function admin(?object $current): string
    {
        $admin = $current === null ? null : $current->admin();
        if ($admin !== null) {
            return (string) ($admin->username ?? 'admin');
        }
        $id = (int) ($_SESSION['adminid'] ?? 0);
        return $id > 0 ? (string) Capsule::table('tbladmins')->where('id', $id)->value('username') : '';
    }

    private static function client(?object $current): int
    {
        $client = $current === null ? null : $current->client();
        return $client !== null ? (int) $client->id : (int) ($_SESSION['uid'] ?? 0);
    }

    /** @return array{type: string, name: string} */
    private static function called(string $type, string $name): array
    {
        $printable = (string) preg_replace('/[^\x20-\x7e]+/', '', $name);
        return ['type' => $type, 'name' => substr($printable, 0, 255)];
    }
}
