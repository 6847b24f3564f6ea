<?php

namespace WHMCS\Module\Server\Provisioner;

/** What provisioner's answers mean, in words that name the remedy. */
final class Words
{
    public const SKEW_FAILS_S = 300;

    /**
     * A 4xx in words for staff.
     *
     * @param string $words the answer's own
     * @param int $skew seconds that provisioner's clock is ahead
     */
    public static function ofRefusal(int $status, string $reason, string $words, Server $server, int $skew): string
    {
        if ($status === 401) {
            return abs($skew) >= self::SKEW_FAILS_S ? self::clock($skew) : 'Provisioner did not accept the signature:'
                . ' the secret in the server record is not one of [billing.' . $server->billing . '] in config.toml.';
        }
        if ($status === 404) {
            return $reason === 'not_found'
                ? 'Provisioner has no billing system "' . $server->billing . '": the server record\'s username must'
                    . ' be the name of a [billing.…] table in its config.toml.'
                : 'There is no provisioner at ' . $server->address . ' (status 404): check host name, port and SSL'
                    . ' of the server record.';
        }
        if ($reason === 'unknown_installation') {
            return 'Provisioner knows another WHMCS under this name and refuses this one, so that a copy cannot touch'
                . ' live servers. If this one is the real one (moved, or its System URL changed), run on'
                . ' provisioner\'s machine: provisioner billing trust ' . $server->billing . ' "'
                . Store::installation() . '"';
        }
        if ($reason === 'unknown_service') {
            return 'Provisioner knows no such service: nothing was ever ordered for it. Use Create, or Link existing VM.';
        }
        return 'Provisioner refused this (' . ($reason !== '' ? $reason : 'status ' . $status) . '): ' . $words . '.';
    }

    public static function clock(int $skew): string
    {
        return 'The clocks of WHMCS and provisioner differ by ' . abs($skew) . ' seconds (at most '
            . self::SKEW_FAILS_S . ' are accepted): let both machines keep time by NTP; this one is '
            . ($skew > 0 ? 'behind.' : 'ahead.');
    }

    /** How a service stands, for the people who may see this page. */
    public static function ofStatus(string $status): string
    {
        $words = [
            'pending' => 'Being set up',
            'active' => 'Active',
            'suspended' => 'Suspended',
            'terminating' => 'Being removed',
            'terminated' => 'Removed',
            'failed' => 'Setting up did not succeed',
        ];
        return $words[$status] ?? $status;
    }
}
