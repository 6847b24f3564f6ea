<?php

namespace WHMCS\Module\Server\Provisioner;

use WHMCS\Database\Capsule;

/**
 * Events on their way to provisioner. An event's row, with its webhook-id, is stored before it is sent and gone
 * after a 2xx, so that whatever is sent again is the same event. Of one service they leave in order: while one is
 * spooled, the later ones queue behind it, or a late suspend could overtake an unsuspend.
 */
final class Outbox
{
    public const SENT = 'sent';
    public const SPOOLED = 'spooled';

    private const SENDING = 'sending';
    private const REFUSED = 'refused';
    private const UNREAD = [401, 404];
    private const EXPIRING = [
        'service.start', 'service.shutdown', 'service.stop', 'service.reboot', 'service.force_reboot',
        'service.reset_password', 'service.reinstall',
    ];
    private const EXPIRE_S = 900; // as provisioner's action_ttl: nobody expects a reinstall hours after the click
    private const ABANDONED_S = 60; // no call takes so long: its process has died

    /**
     * Sends an event, or keeps it for the cron where no clear answer comes.
     *
     * @param array<string, mixed> $data the event's, with service_id
     * @return string SENT or SPOOLED
     * @throws Refused if the service said no; it is not sent again by itself
     * @throws Problem if it could not be stored, so that nothing was sent
     */
    public static function send(Client $client, string $type, array $data): string
    {
        $serviceId = (int) $data['service_id'];
        $server = $client->server();
        new Signature($server->secret); // what can never be sent must not be kept as if it could
        $queued = self::waiting($serviceId);
        $row = $queued === [] ? self::pending($server, $type, $data) : self::queued($queued, $server, $type, $data);
        if ($row->state === self::SPOOLED) {
            return self::SPOOLED;
        }
        try {
            self::deliver($client, $row);
            return self::SENT;
        } catch (Unavailable $unavailable) {
            return self::spool($row, $unavailable) ? self::SPOOLED : self::SENT;
        } catch (Refused $refused) {
            self::refuse($row, $refused);
            throw $refused;
        }
    }

    /** @return \stdClass[] the spooled events of a service, oldest first */
    public static function waiting(int $serviceId): array
    {
        return self::rows(static fn () => Capsule::table(Store::EVENTS)
            ->where('service_id', $serviceId)->where('state', self::SPOOLED)->orderBy('id')->get());
    }

    /** @return \stdClass[] what provisioner refused of a service and nobody has asked for again */
    public static function refused(int $serviceId): array
    {
        return self::rows(static fn () => Capsule::table(Store::EVENTS)
            ->where('service_id', $serviceId)->where('state', self::REFUSED)->orderBy('id')->get());
    }

    /**
     * Sends what is spooled, of each service in order; a service's first failure ends its turn.
     *
     * @param float $budgetS seconds for all of it
     * @param int $serviceId only this service's; 0: all
     */
    public static function flush(float $budgetS, int $serviceId = 0): void
    {
        $clients = [];
        $stopped = [];
        $until = hrtime(true) / 1e9 + $budgetS;
        foreach (self::spooled($serviceId) as $row) {
            $left = $until - hrtime(true) / 1e9;
            if ($left <= 0) {
                return;
            }
            if (isset($stopped[$row->service_id]) || self::expire($row)) {
                continue;
            }
            try {
                $serverId = (int) $row->server_id;
                $clients[$serverId] = $clients[$serverId] ?? new Client(self::server($row), $left);
                self::forward($clients[$serverId], $row);
            } catch (Problem $problem) {
                $stopped[$row->service_id] = true;
                self::note($row, $problem);
            }
        }
    }

    /**
     * One spooled event. A refused one leaves the spool, is reported, and lets the later ones go on; one that
     * was not even read (wrong secret, clock or name) stays, because nothing is wrong with the event.
     *
     * @throws Problem
     */
    private static function forward(Client $client, \stdClass $row): void
    {
        try {
            self::deliver($client, $row);
        } catch (Refused $refused) {
            if (in_array($refused->status, self::UNREAD, true)) {
                throw $refused;
            }
            if (self::remove($row)) {
                Log::report(
                    'A kept ' . $row->type . ' was refused',
                    'Service ' . $row->service_id . ': ' . $row->type . ' was kept while provisioner could not be'
                    . ' reached, and is now refused. ' . $refused->getMessage() . ' WHMCS shows it as done: set the'
                    . ' service right there and run the module command again.'
                );
            }
        }
    }

    /** Whether it was an action that nobody waits for any more; it is then gone. */
    private static function expire(\stdClass $row): bool
    {
        if (!in_array($row->type, self::EXPIRING, true) || (int) $row->made_at >= time() - self::EXPIRE_S) {
            return false;
        }
        if (self::remove($row)) {
            Log::report(
                'A kept ' . $row->type . ' was dropped',
                'Service ' . $row->service_id . ': provisioner could not be reached for ' . self::EXPIRE_S / 60
                . ' minutes after somebody asked for it, so it was not carried out. Ask for it again if it is still wanted.'
            );
        }
        return true;
    }

    /** @throws Problem */
    private static function deliver(Client $client, \stdClass $row): void
    {
        $client->event($row->webhook_id, $row->body);
        self::remove($row);
    }

    /**
     * The row of an event that is to be sent now: a new one, or that of the same event that was tried before.
     *
     * @param array<string, mixed> $data
     */
    private static function pending(Server $server, string $type, array $data): \stdClass
    {
        $row = self::row($server, $type, $data, self::SENDING);
        return Store::with(static function () use ($row): \stdClass {
            Capsule::table(Store::EVENTS)->where('service_id', $row['service_id'])->where('type', $row['type'])
                ->where('slot', '')->where('digest', '!=', $row['digest'])
                ->where(static function ($query): void {
                    $query->where('state', self::REFUSED)->orWhere('tried_at', '<', time() - self::ABANDONED_S);
                })->delete();
            $same = array_intersect_key($row, array_flip(['service_id', 'type', 'digest', 'slot']));
            // The row of before may go between the insert and the look; then ours can be inserted.
            for ($try = 0; $try < 3; $try++) {
                if (Store::insert(Store::EVENTS, $row)) {
                    return (object) $row;
                }
                $before = Capsule::table(Store::EVENTS)->where($same)->first();
                if ($before !== null) {
                    $again = array_intersect_key($row, array_flip(['state', 'server_id', 'made_at', 'tried_at']));
                    Capsule::table(Store::EVENTS)->where('webhook_id', $before->webhook_id)->where('slot', '')->update($again);
                    return (object) ($again + (array) $before);
                }
            }
            throw new Problem('This action is being carried out at this moment; try again.');
        });
    }

    /**
     * An event behind those that are spooled; the same one as the last of them is that one.
     *
     * @param \stdClass[] $queued
     * @param array<string, mixed> $data
     */
    private static function queued(array $queued, Server $server, string $type, array $data): \stdClass
    {
        $last = end($queued);
        $row = self::row($server, $type, $data, self::SPOOLED);
        if ($last->type === $row['type'] && $last->digest === $row['digest']) {
            return $last;
        }
        $row['slot'] = $row['webhook_id'];
        return Store::with(static function () use ($row): \stdClass {
            Capsule::table(Store::EVENTS)->where('service_id', $row['service_id'])->where('type', $row['type'])
                ->where('state', self::REFUSED)->delete();
            Capsule::table(Store::EVENTS)->insert($row);
            return (object) $row;
        });
    }

    /** Keeps an event for the cron; false where another process has brought it there meanwhile. */
    private static function spool(\stdClass $row, Problem $problem): bool
    {
        return Store::with(static function () use ($row, $problem): bool {
            Capsule::table(Store::EVENTS)->where('webhook_id', $row->webhook_id)->where('slot', '')->update([
                'state' => self::SPOOLED,
                'slot' => $row->webhook_id,
                'error' => $problem->getMessage(),
                'tried_at' => time(),
            ]);
            return Capsule::table(Store::EVENTS)->where('webhook_id', $row->webhook_id)->exists();
        });
    }

    private static function refuse(\stdClass $row, Refused $refused): void
    {
        if ($refused->reason === 'id_reused') { // the id is spent: the next try needs another
            self::remove($row);
            return;
        }
        Store::with(static function () use ($row, $refused): void {
            Capsule::table(Store::EVENTS)->where('webhook_id', $row->webhook_id)->where('state', self::SENDING)
                ->update(['state' => self::REFUSED, 'error' => $refused->getMessage(), 'tried_at' => time()]);
        });
    }

    private static function note(\stdClass $row, Problem $problem): void
    {
        if (!$problem instanceof Unavailable && $row->error !== $problem->getMessage()) {
            Log::report('A kept ' . $row->type . ' waits', 'Service ' . $row->service_id . ': ' . $problem->getMessage());
        }
        Store::with(static function () use ($row, $problem): void {
            Capsule::table(Store::EVENTS)->where('webhook_id', $row->webhook_id)
                ->update(['error' => $problem->getMessage(), 'tried_at' => time()]);
        });
    }

    private static function remove(\stdClass $row): bool
    {
        return Store::with(static fn (): bool =>
            Capsule::table(Store::EVENTS)->where('webhook_id', $row->webhook_id)->delete() > 0);
    }

    /** @return \stdClass[] */
    private static function spooled(int $serviceId): array
    {
        return self::rows(static function () use ($serviceId) {
            $query = Capsule::table(Store::EVENTS)->where('state', self::SPOOLED)->orderBy('id')->limit(1000);
            return ($serviceId > 0 ? $query->where('service_id', $serviceId) : $query)->get();
        });
    }

    private static function server(\stdClass $row): Server
    {
        return (int) $row->server_id > 0
            ? Server::ofId((int) $row->server_id)
            : Server::ofService((int) $row->service_id);
    }

    /**
     * @param array<string, mixed> $data
     * @return array<string, mixed>
     */
    private static function row(Server $server, string $type, array $data, string $state): array
    {
        return [
            'service_id' => (int) $data['service_id'],
            'server_id' => $server->id,
            'type' => $type,
            'digest' => hash('sha256', $type . "\n" . json_encode($data)),
            'slot' => '',
            'webhook_id' => Signature::newId(),
            'state' => $state,
            'body' => Client::message($type, $data),
            'error' => '',
            'made_at' => time(),
            'tried_at' => time(),
        ];
    }

    /**
     * @param callable(): iterable<object> $query
     * @return \stdClass[]
     */
    private static function rows(callable $query): array
    {
        $rows = [];
        foreach (Store::with($query) as $row) {
            $rows[] = (object) (array) $row;
        }
        return $rows;
    }
}
