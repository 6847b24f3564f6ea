<?php

namespace WHMCS\Module\Server\Provisioner;

/** What is done after each run of WHMCS's cron: kept events are sent, waiting deliveries are fetched. */
final class Cron
{
    /**
     * @param float $budgetS seconds for each of the two
     * @throws Problem
     */
    public static function run(float $budgetS): void
    {
        Outbox::flush($budgetS);
        $servers = [];
        foreach (Server::ids() as $id) {
            try {
                $server = Server::ofId($id);
                new Signature($server->secret);
                $servers += [$server->address . '/' . $server->billing => $server];
            } catch (Problem $problem) {
                continue; // Test Connection says what is wrong with it
            }
        }
        self::fetch(array_values($servers), $budgetS);
    }

    /**
     * Fetches and writes what waits at these servers, unless another process is at it.
     *
     * @param Server[] $servers
     * @param float $budgetS seconds for all of it
     */
    public static function fetch(array $servers, float $budgetS): void
    {
        $lock = self::lock();
        if ($lock === false) {
            return;
        }
        $until = hrtime(true) / 1e9 + $budgetS;
        foreach ($servers as $server) {
            $left = $until - hrtime(true) / 1e9;
            if ($left > 0) {
                (new Inbox(new Client($server, $left)))->fetch();
            }
        }
        if ($lock !== null) {
            flock($lock, LOCK_UN);
        }
    }

    /**
     * A lock that ends with its process, so that a mark "is being sent" of a delivery always means that its process
     * died. Where no file can be opened the marks alone see to it that nothing is mailed twice.
     *
     * @return resource|false|null false where another process has it, null where it cannot be had
     */
    private static function lock()
    {
        $file = sys_get_temp_dir() . '/provisioner-' . hash('sha256', Store::installation()) . '.lock';
        $lock = @fopen($file, 'c');
        if ($lock === false) {
            return null;
        }
        return flock($lock, LOCK_EX | LOCK_NB) ? $lock : false;
    }
}
