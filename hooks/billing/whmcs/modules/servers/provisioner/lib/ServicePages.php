<?php

namespace WHMCS\Module\Server\Provisioner;

/** What staff see and do on a service's page. */
final class ServicePages
{
    private const PAGE_S = 3.0;

    /**
     * @param array<string, mixed> $params
     * @return array<string, string> label => HTML
     */
    public static function forStaff(array $params): array
    {
        return Entry::answer(static function () use ($params): array {
            $service = Service::ofParams($params);
            return self::known($params, $service) + self::kept($service);
        }, static fn (string $sentence): array => ['Provisioner' => self::html($sentence)]);
    }

    /**
     * The button Send and fetch now: what the cron does, for whoever does not want to wait for it.
     *
     * @param array<string, mixed> $params
     */
    public static function sendAndFetch(array $params): string
    {
        return Entry::answer(static function () use ($params): string {
            $service = Service::ofParams($params);
            (new Client(Server::ofParams($params)))->tryAgain();
            Outbox::flush(Client::ACTION_S, $service->id);
            Cron::fetch([Server::ofParams($params)], 2 * Client::ACTION_S);
            $left = Outbox::waiting($service->id);
            return $left === [] ? 'success' : 'Still kept: ' . $left[0]->type . '. ' . $left[0]->error;
        }, static fn (string $sentence): string => $sentence);
    }

    /**
     * @param array<string, mixed> $params
     * @return array<string, string>
     */
    private static function known(array $params, Service $service): array
    {
        try {
            $client = new Client(Server::ofParams($params), self::PAGE_S);
            $known = $client->service((string) $service->id);
        } catch (Problem $problem) {
            return ['State' => self::html('Not known now. ' . $problem->getMessage())];
        }
        if ($known === null) {
            return ['State' => self::html('Nothing was ordered for this service yet.')];
        }
        $fields = [
            'State' => self::html(Words::ofStatus((string) ($known['status'] ?? ''))),
            'VM' => self::html((string) ($known['vmid'] ?? 'none')),
            'IPs' => implode('<br />', array_map([self::class, 'html'], self::texts($known['ips'] ?? []))) ?: 'not known',
            'Plan' => self::html(self::planned($known)),
        ];
        return $fields + self::operation(is_array($known['operation'] ?? null) ? $known['operation'] : []);
    }

    /**
     * @param array<string, mixed> $operation
     * @return array<string, string>
     */
    private static function operation(array $operation): array
    {
        if ($operation === []) {
            return [];
        }
        $state = (string) ($operation['state'] ?? '');
        $percent = (int) round(100 * (float) ($operation['progress'] ?? 0));
        $words = (string) ($operation['kind'] ?? '') . ', ' . $state
            . (in_array($state, ['running', 'waiting'], true) ? ' (' . $percent . ' %)' : '');
        $failed = in_array($state, ['failed', 'held', 'cancelled'], true);
        return ['Last operation' => self::html($words)]
            + [$failed ? 'Last error' : 'Progress' => self::html((string) ($operation['message'] ?? ''))];
    }

    /** @return array<string, string> */
    private static function kept(Service $service): array
    {
        $lines = [];
        foreach (Outbox::waiting($service->id) as $event) {
            $lines[] = $event->type . ', kept since ' . date('Y-m-d H:i', (int) $event->made_at)
                . ' and sent by the cron' . ($event->error === '' ? '' : ': ' . $event->error);
        }
        foreach (Outbox::refused($service->id) as $event) {
            $lines[] = $event->type . ', refused at ' . date('Y-m-d H:i', (int) $event->tried_at) . ': ' . $event->error;
        }
        return $lines === [] ? [] : ['Not at provisioner' => implode('<br />', array_map([self::class, 'html'], $lines))];
    }

    /** @param array<string, mixed> $known */
    private static function planned(array $known): string
    {
        $spec = is_array($known['spec'] ?? null) ? $known['spec'] : [];
        $words = [];
        foreach (['cpu_cores' => ' cores', 'mem' => ' MB', 'disk' => ' disk', 'ip_count' => ' IPs', 'template' => ''] as $key => $unit) {
            if (isset($spec[$key]) && is_scalar($spec[$key])) {
                $words[] = $spec[$key] . $unit;
            }
        }
        return ($known['plan'] ?? '') . ($words === [] ? '' : ': ' . implode(', ', $words));
    }

    /**
     * @param mixed $list
     * @return string[]
     */
    private static function texts($list): array
    {
        return array_map('strval', array_filter(is_array($list) ? $list : [], 'is_scalar'));
    }

    private static function html(string $text): string
    {
        return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');
    }
}
